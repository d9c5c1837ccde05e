package avx

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/runtime"
)

// TestGLUDownIsItsParts runs the fused op and its parts on one instruction set and demands
// the same bits, for few tokens and many; and that few tokens leave weights
// unread as far as their codes are zero.
func TestGLUDownIsItsParts(t *testing.T) {
	for _, o := range everyISA {
		t.Run("off="+o.Off, func(t *testing.T) { gluDownIsItsParts(t, newDevice(t, o)) })
	}
}

func gluDownIsItsParts(t *testing.T, dev devices.Device) {
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
		for _, tokens := range []int{1, 2, 3, 13, 40} {
			gate, up, res := f32s(tokens, k), f32s(tokens, k), f32s(tokens, n)
			inputs := map[string]graph.Tensor{"gate": gate, "up": up, "res": res}
			step(t, one, inputs, tokens)
			step(t, two, inputs, tokens)
			if got, want := output(t, one, 0), output(t, two, 0); !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%dx%d, %d tokens: the fused op gives other bits than its parts", n, k, tokens)
			}
			checkSkipped(t, one.Skipped(), output(t, two, 1).I8(), n, k, tokens)
		}
	}
}

// TestMLPIsItsParts does the same for a whole feed-forward layer, also with a scale
// of up that makes zero times up something else than zero.
func TestMLPIsItsParts(t *testing.T) {
	for _, o := range everyISA {
		t.Run("off="+o.Off, func(t *testing.T) { mlpIsItsParts(t, newDevice(t, o)) })
	}
}

func mlpIsItsParts(t *testing.T, dev devices.Device) {
	for _, shape := range [][3]int{{300, 700, 256}, {64, 1100, 300}, {33, 2100, 512}, {5, 33, 7}} {
		out, n, k := shape[0], shape[1], shape[2]
		attrs := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
		build := func(fuse bool) *graph.Graph {
			b := graph.NewBuilder("g")
			s := b.Sym("S", 1, 40)
			in := []graph.Value{b.Input("q", graph.I8, s, graph.C(k)), b.Input("s", graph.F32, s, graph.C(1)),
				b.Param("gate", graph.Tern, n, k), b.Param("gamma", graph.F32), b.Param("up", graph.Tern, n, k), b.Input("scale", graph.F32),
				b.Param("g", graph.F32, n), b.Param("down", graph.Tern, out, n), b.Param("gamma2", graph.F32), b.Input("res", graph.F32, s, graph.C(out))}
			if fuse {
				in = bitlinear.MLPOp.Emit(attrs, in...)
			} else {
				gate := bitlinear.IntLinearOp.One(graph.None{}, in[:4]...)
				up := bitlinear.IntLinearOp.One(graph.None{}, in[0], in[1], in[4], in[5])
				q := bitlinear.GLUSubLNQuantOp.Emit(attrs, gate, up, in[6])
				in = append(bitlinear.LinearAddOp.Emit(graph.None{}, append(q, in[7:]...)...), gate)
			}
			g, err := b.Finish(in...)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		r := rand.New(rand.NewPCG(2, uint64(n)))
		tern := func(n, k int) graph.Tensor {
			codes := graph.NewTensor(graph.Tern, n, k)
			for i := range codes.I8() {
				codes.I8()[i] = int8(r.IntN(3)) - 1
			}
			return codes
		}
		f32s := func(dims ...int) graph.Tensor {
			x := graph.NewTensor(graph.F32, dims...)
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64())
			}
			return x
		}
		params := runtime.Tensors{"gate": tern(n, k), "up": tern(n, k), "down": tern(out, n), "g": f32s(n), "gamma": f32s(), "gamma2": f32s()}
		one, two := start(t, dev, build(true), params), start(t, dev, build(false), params)
		for _, scale := range []float32{0.25, float32(math.Inf(1))} {
			for _, tokens := range []int{1, 2, 3, 13, 40} {
				q, s := graph.NewTensor(graph.I8, tokens, k), graph.NewTensor(graph.F32, tokens, 1)
				for i := range q.I8() {
					q.I8()[i] = int8(r.IntN(255) - 127)
				}
				for i := range s.F32() {
					s.F32()[i] = 20 + r.Float32()
				}
				inputs := map[string]graph.Tensor{"q": q, "s": s, "scale": graph.FromF32([]float32{scale}), "res": f32s(tokens, out)}
				step(t, one, inputs, tokens)
				step(t, two, inputs, tokens)
				equal := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b }
				if got, want := output(t, one, 0), output(t, two, 0); !slices.EqualFunc(got.F32(), want.F32(), equal) {
					t.Errorf("%v, %d tokens, scale %g: the fused op gives other bits than its parts", shape, tokens, scale)
				}
				rows := 0
				for _, v := range output(t, two, 1).F32() {
					if !(v > 0) {
						rows++
					}
				}
				least := rows * asm.RowBytes(k)
				if tokens > 1 || scale > 1 {
					least = 0
				}
				if skipped := one.Skipped(); skipped < least || tokens > fewTokens && skipped > 0 {
					t.Errorf("%v, %d tokens: %d rows of up meet zero, %d bytes left unread", shape, tokens, rows, skipped)
				}
			}
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

// step runs one step with these inputs.
func step(t *testing.T, run *runtime.Run, inputs map[string]graph.Tensor, tokens int) {
	t.Helper()
	for name, x := range inputs {
		h, err := run.Program().Input(name)
		if err != nil {
			t.Fatal(err)
		}
		run.Set(h, x)
	}
	if err := run.Step(context.Background(), tokens); err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, run *runtime.Run, i int) graph.Tensor {
	t.Helper()
	x, err := run.Output(context.Background(), i)
	if err != nil {
		t.Fatal(err)
	}
	return x
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
