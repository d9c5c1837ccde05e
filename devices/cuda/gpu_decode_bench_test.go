//go:build cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/ops/ternary"
)

// decodeRig makes calls over operands of its own for benchmarks of a step.
type decodeRig struct {
	*rig
	rng *rand.Rand
}

// floats is f32 of normal values.
func (r *decodeRig) floats(dims ...int) devices.Operand {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = float32(r.rng.NormFloat64())
	}
	return r.upload(t, "")
}

// weights are copies of packed random weights [n,k], each in memory of its own.
func (r *decodeRig) weights(copies, n, k int) []devices.Operand {
	_, in := example(ternary.MatMulOp.OpDef, size3{1, n, k}, r.rng)
	first := r.upload(in[1], i2x64)
	ws := []devices.Operand{first}
	for len(ws) < copies {
		w := r.operand(graph.Tern, i2x64, n, k)
		r.must(r.q.Copy(w.Buf, w.Off, first.Buf, first.Off, r.d.bytes(first)))
		ws = append(ws, w)
	}
	return ws
}

// bound chooses and binds the kernel for a call, with scratch memory.
func (r *decodeRig) bound(op *graph.OpDef, attrs any, in ...devices.Operand) (devices.Launch, []devices.Operand) {
	r.Helper()
	types := make([]graph.Type, len(in))
	c := &devices.Call{Op: op, Attrs: attrs, Where: "benchmark"}
	for i, o := range in {
		types[i] = graph.T(o.Elem, graph.Dims(o.Dims...)...)
		plain := o
		plain.Layout = ""
		c.In = append(c.In, plain)
	}
	outs, err := op.InferTypes(attrs, types)
	r.must(err)
	for i, t := range outs {
		dims, err := t.Shape.Eval(nil)
		r.must(err)
		switch {
		case op == bitlinear.NormLinearAddOp.OpDef:
			c.Out = append(c.Out, in[4]) // in place, as in a program
		case op == bitlinear.RoPEAttendOp.OpDef && i > 0:
			c.Out = append(c.Out, in[i-1])
		default:
			c.Out = append(c.Out, r.operand(t.Elem, "", dims...))
		}
	}
	k, _, err := r.reg.Choose(c)
	r.must(err)
	c.In = in
	if k.Scratch != nil {
		c.Scratch = r.operand(graph.U8, "", k.Scratch(c))
	}
	l, err := k.Bind(c)
	r.must(err)
	return l, c.Out
}

// replay measures a captured sequence.
func (r *decodeRig) replay(b *testing.B, ls []devices.Launch) (seconds float64) {
	seq, err := r.q.Capture(ls)
	r.must(err)
	for range 3 {
		r.must(seq.Replay())
	}
	r.sync()
	b.ResetTimer()
	for b.Loop() {
		r.must(seq.Replay())
		r.sync()
	}
	seconds = b.Elapsed().Seconds() / float64(b.N)
	r.must(seq.Free())
	return seconds
}

// BenchmarkLinear is products of codes as a decode step has them, over weights
// that together are several times the second-level cache, and the same with the
// norm before them.
func BenchmarkLinear(b *testing.B) {
	r := newRig(b)
	bw := r.copyBandwidth()
	b.Logf("%v; copy %.0f GB/s", r.d.Info(), bw/1e9)
	norm := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	for _, m := range []int{1, 4, 8, 16, 64} {
		for _, z := range []size3{{m, 2560, 2560}, {m, 3840, 2560}, {m, 13824, 2560}, {m, 2560, 6912}} {
			for _, fused := range []bool{false, true} {
				name := fmt.Sprintf("M=%d/N=%d/K=%d", z.m, z.n, z.k)
				if fused {
					name += "/norm"
				}
				b.Run(name, func(b *testing.B) {
					r := &decodeRig{&rig{b, r.d, r.q, r.reg}, rand.New(rand.NewPCG(1, 2))}
					bytes := z.n * units(z.k) * unitBytes
					copies := max(8, 256<<20/bytes)
					gamma, res := r.floats(), r.floats(z.m, z.n)
					x, g := r.floats(z.m, z.k), r.floats(z.k)
					quant, qs := r.bound(bitlinear.SubLNQuantOp.OpDef, norm, x, g)
					r.must(r.q.Launch(quant))
					var ls []devices.Launch
					for _, w := range r.weights(copies, z.n, z.k) {
						var l devices.Launch
						if fused {
							l, _ = r.bound(bitlinear.NormLinearAddOp.OpDef, norm, x, g, w, gamma, res)
						} else {
							l, _ = r.bound(bitlinear.LinearAddOp.OpDef, graph.None{}, qs[0], qs[1], w, gamma, res)
						}
						ls = append(ls, l)
					}
					for len(ls) < 256 { // what a replay takes besides
						ls = append(ls, ls...)
					}
					per := r.replay(b, ls) / float64(len(ls))
					b.ReportMetric(per*1e6, "µs/product")
					b.ReportMetric(float64(bytes)/per/1e9, "GB/s")
					b.ReportMetric(100*float64(bytes)/per/bw, "%copy")
				})
			}
		}
	}
}

// BenchmarkHead is the likeliest token of 2B4T's head, and the whole head.
func BenchmarkHead(b *testing.B) {
	r := newRig(b)
	const vocab, d = 128256, 2560
	rng := rand.New(rand.NewPCG(1, 2))
	w := graph.NewTensor(graph.BF16, vocab, d)
	for i := range w.U16() {
		w.U16()[i] = graph.F32ToBF16((rng.Float32() - 0.5) * 0.08)
	}
	head := r.upload(w, "")
	for _, m := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("likeliest/M=%d", m), func(b *testing.B) {
			r := &decodeRig{&rig{b, r.d, r.q, r.reg}, rng}
			x, keep := r.floats(m, d), r.upload(graph.FromI32(make([]int32, m), m), "")
			ones := make([]byte, 4*m)
			for i := range m {
				ones[4*i] = 1
			}
			r.must(r.q.Write(keep.Buf, keep.Off, ones))
			prep, planes := r.bound(screen.PlanesOp.OpDef, graph.None{}, head)
			r.must(r.q.Launch(prep))
			l, _ := r.bound(screen.LikeliestOp.OpDef, screen.ListAttrs{Most: 64}, x, keep, head, planes[0], planes[1], planes[2])
			b.ReportMetric(r.replay(b, []devices.Launch{l})*1e6, "µs/step")
			var parts []devices.Launch
			for _, p := range l.(several) {
				parts = append(parts, p)
			}
			seq, err := r.q.Capture(parts)
			r.must(err)
			times, err := seq.Profile()
			r.must(err)
			b.Log(times)
			r.must(seq.Free())
		})
		b.Run(fmt.Sprintf("whole/M=%d", m), func(b *testing.B) {
			r := &decodeRig{&rig{b, r.d, r.q, r.reg}, rng}
			l, _ := r.bound(ops.MatMulOp.OpDef, ops.MatMulAttrs{TB: true}, r.floats(m, d), head)
			b.ReportMetric(r.replay(b, []devices.Launch{l})*1e6, "µs/step")
		})
	}
}
