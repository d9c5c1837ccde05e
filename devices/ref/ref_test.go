package ref_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/conformance"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

func TestConformance(t *testing.T) {
	dev := ref.Device(ref.Options{})
	defer dev.Close()
	conformance.Run(t, dev, conformance.Options{Threads: func(n int) devices.Device { return ref.Device(ref.Options{Threads: n}) }})
}

// bound is one kernel call over random operands.
func bound(t testing.TB, dev *host.Device, name string, op *graph.OpDef, attrs any, in []graph.Tensor) (*devices.Call, devices.Sequence, devices.Queue) {
	t.Helper()
	types := make([]graph.Type, len(in))
	c := &devices.Call{Op: op, Attrs: attrs}
	buffer := func(x graph.Tensor) devices.Operand {
		buf, err := dev.Alloc(len(x.Data))
		if err != nil {
			t.Fatal(err)
		}
		o := devices.Operand{Elem: x.Elem, Dims: x.Dims, Buf: buf}
		copy(host.Bytes(o, len(x.Data)), x.Data)
		return o
	}
	for i, x := range in {
		types[i] = x.Type()
		c.In = append(c.In, buffer(x))
	}
	outs, err := op.InferTypes(attrs, types)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outs {
		dims, _ := o.Shape.Eval(nil)
		c.Out = append(c.Out, buffer(graph.NewTensor(o.Elem, dims...)))
	}
	q, err := dev.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range dev.Kernels() {
		if k.Name != name {
			continue
		}
		if k.Scratch != nil {
			c.Scratch = buffer(graph.NewTensor(graph.U8, k.Scratch(c)))
		}
		l, err := k.Bind(c)
		if err != nil {
			t.Fatal(err)
		}
		seq, err := q.Capture([]devices.Launch{l})
		if err != nil {
			t.Fatal(err)
		}
		return c, seq, q
	}
	t.Fatalf("no kernel %s", name)
	return nil, nil, nil
}

func random(rng *rand.Rand, elem graph.DType, dims ...int) graph.Tensor {
	x := graph.NewTensor(elem, dims...)
	for i := range x.Len() {
		switch elem {
		case graph.F32:
			x.F32()[i] = float32(rng.NormFloat64())
		case graph.BF16:
			x.U16()[i] = graph.F32ToBF16(float32(rng.NormFloat64()))
		case graph.Tern:
			x.I8()[i] = int8(rng.IntN(3) - 1)
		case graph.I8:
			x.I8()[i] = int8(rng.IntN(255) - 127)
		}
	}
	return x
}

// Products of float32 are exact in float64 and added in the reference's order,
// so the kernels give the reference's bits.
func TestMatMulBitsAreTheReferences(t *testing.T) {
	dev := ref.Device(ref.Options{Threads: 2})
	defer dev.Close()
	rng := rand.New(rand.NewPCG(1, 9))
	for range 60 {
		m, k, n := 1+rng.IntN(20), 1+rng.IntN(200), 1+rng.IntN(60)
		at := ops.MatMulAttrs{TA: rng.IntN(2) == 0, TB: rng.IntN(2) == 0}
		a, b := []int{m, k}, []int{k, n}
		if at.TA {
			a = []int{k, m}
		}
		if at.TB {
			b = []int{n, k}
		}
		in := []graph.Tensor{random(rng, graph.F32, a...), random(rng, graph.F32, b...)}
		names := []string{"matmul.f64.go"}
		if at.TB && !at.TA {
			names = append(names, "linear.f64.go")
		}
		want := graph.NewTensor(graph.F32, m, n)
		if err := ops.MatMulOp.Run(at, in, []graph.Tensor{want}); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			c, seq, q := bound(t, dev, name, ops.MatMulOp.OpDef, at, in)
			if err := errors.Join(seq.Replay(), q.Sync(context.Background())); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(host.Tensor(c.Out[0]).Data, want.Data) {
				t.Errorf("%s of %d×%d×%d %+v has other bits", name, m, k, n, at)
			}
		}
	}
}

func BenchmarkKernels(b *testing.B) {
	dev := ref.Device(ref.Options{Threads: 1})
	defer dev.Close()
	rng := rand.New(rand.NewPCG(1, 9))
	tb := ops.MatMulAttrs{TB: true}
	for _, rows := range []int{1, 16} {
		for _, tc := range []struct {
			kernel string
			op     *graph.OpDef
			attrs  any
			in     []graph.Tensor
		}{
			{"ternary_matmul.i8.go", ternary.MatMulOp.OpDef, graph.None{}, []graph.Tensor{random(rng, graph.I8, rows, 640), random(rng, graph.Tern, 640, 640)}},
			{"linear.f64.go", ops.MatMulOp.OpDef, tb, []graph.Tensor{random(rng, graph.F32, rows, 640), random(rng, graph.F32, 640, 640)}},
			{"linear.f64.go", ops.MatMulOp.OpDef, tb, []graph.Tensor{random(rng, graph.F32, rows, 640), random(rng, graph.BF16, 640, 640)}},
			{"matmul.f64.go", ops.MatMulOp.OpDef, ops.MatMulAttrs{}, []graph.Tensor{random(rng, graph.F32, rows, 640), random(rng, graph.F32, 640, 640)}},
			{"ref", ops.MatMulOp.OpDef, tb, []graph.Tensor{random(rng, graph.F32, rows, 640), random(rng, graph.BF16, 640, 640)}},
		} {
			b.Run(fmt.Sprintf("%s/%s/rows=%d", tc.kernel, tc.in[1].Elem, rows), func(b *testing.B) {
				_, seq, q := bound(b, dev, tc.kernel, tc.op, tc.attrs, tc.in)
				for b.Loop() {
					if err := errors.Join(seq.Replay(), q.Sync(context.Background())); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(rows)*640*640*float64(b.N)/1e9/b.Elapsed().Seconds(), "Gmac/s")
			})
		}
	}
}
