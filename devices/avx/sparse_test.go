package avx

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/runtime"
)

// TestGLUDownIsItsParts runs the fused op and its parts on one device and demands
// the same bits, for few tokens and many; and that few tokens leave weights
// unread as far as their codes are zero.
func TestGLUDownIsItsParts(t *testing.T) {
	dev := newDevice(t, Options{Threads: 2})
	if !dev.Has("avx512") || !dev.Has("avx512vnni") {
		t.Skip("the kernel needs avx512 and avx512vnni")
	}
	ctx := context.Background()
	for _, shape := range [][2]int{{300, 700}, {64, 4100}, {513, 2100}, {5, 33}} {
		n, k := shape[0], shape[1]
		attrs := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
		build := func(fuse bool) *graph.Graph {
			b := graph.NewBuilder("g")
			s := b.Sym("S", 1, 40)
			in := []graph.Value{b.Input("gate", graph.F32, s, graph.C(k)), b.Input("up", graph.F32, s, graph.C(k)), b.Param("g", graph.F32, k),
				b.Param("t", graph.Tern, n, k), b.Param("gamma", graph.F32), b.Input("res", graph.F32, s, graph.C(n))}
			var outs []graph.Value
			if fuse {
				outs = bitlinear.GLUDownOp.Emit(attrs, in...)
			} else {
				q := bitlinear.GLUSubLNQuantOp.Emit(attrs, in[:3]...)
				outs = append(bitlinear.LinearAddOp.Emit(graph.None{}, append(q, in[3:]...)...), q[0])
			}
			g, err := b.Finish(outs...)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		r := rand.New(rand.NewPCG(1, uint64(n)))
		f32s := func(dims ...int) graph.Tensor {
			x := graph.NewTensor(graph.F32, dims...)
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64())
			}
			return x
		}
		codes := graph.NewTensor(graph.Tern, n, k)
		for i := range codes.I8() {
			codes.I8()[i] = int8(r.IntN(3)) - 1
		}
		params := runtime.Tensors{"g": f32s(k), "t": codes, "gamma": f32s()}
		one, two := start(t, dev, build(true), params), start(t, dev, build(false), params)
		for _, tokens := range []int{1, 2, 3, 40} {
			gate, up, res := f32s(tokens, k), f32s(tokens, k), f32s(tokens, n)
			for _, run := range []*runtime.Run{one, two} {
				for name, x := range map[string]graph.Tensor{"gate": gate, "up": up, "res": res} {
					h, err := run.Program().Input(name)
					if err != nil {
						t.Fatal(err)
					}
					run.Set(h, x)
				}
				if err := run.Step(ctx, tokens); err != nil {
					t.Fatal(err)
				}
			}
			output := func(run *runtime.Run, i int) graph.Tensor {
				x, err := run.Output(ctx, i)
				if err != nil {
					t.Fatal(err)
				}
				return x
			}
			if got, want := output(one, 0), output(two, 0); !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%dx%d, %d tokens: the fused op gives other bits than its parts", n, k, tokens)
			}
			checkSkipped(t, one.Skipped(), output(two, 1).I8(), n, k, tokens)
		}
	}
}

func checkSkipped(t *testing.T, skipped int, codes []int8, n, k, tokens int) {
	t.Helper()
	used := 0
	for _, q := range codes {
		if q != 0 {
			used++
		}
	}
	all := asm.PackedColsBytes(n, k)
	most := max(0, all-used*asm.ColBytes(n))
	least := most - 3*8*tokens*asm.ColBytes(n) // lists are filled to fours
	if tokens > fewTokens {
		most, least = 0, 0
	}
	if skipped > most || skipped < least || tokens == 1 && skipped < all/3 {
		t.Errorf("%dx%d, %d tokens, %d codes in use: %d of %d bytes left unread", n, k, tokens, used, skipped, all)
	}
}

func start(t *testing.T, dev devices.Device, g *graph.Graph, params runtime.Tensors) *runtime.Run {
	t.Helper()
	p, err := runtime.Compile(g, dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(context.Background(), params); err != nil {
		t.Fatal(err)
	}
	run, err := p.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Close(); _ = p.Close() })
	return run
}
