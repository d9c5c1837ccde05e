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
)

// measure replays a graph of several calls of k and reports the time of one and
// the operations a second, of which a call has flops.
func (r *rig) measure(b *testing.B, k devices.Kernel, attrs any, in []devices.Operand, out []graph.Tensor, flops float64) {
	r.Helper()
	const calls = 8
	c := &devices.Call{Op: k.Op, Attrs: attrs, In: in, Where: "test"}
	var bufs []devices.Buffer
	alloc := func(o devices.Operand) devices.Operand {
		buf, err := r.d.Alloc(max(o.Bytes(), 16))
		r.must(err)
		bufs = append(bufs, buf)
		o.Buf = buf
		return o
	}
	for _, t := range out {
		c.Out = append(c.Out, alloc(devices.Operand{Elem: t.Elem, Dims: t.Dims}))
	}
	if err := k.Fit(c); err != nil {
		b.Skip(err)
	}
	if k.Scratch != nil {
		c.Scratch = alloc(devices.Operand{Elem: graph.U8, Dims: []int{k.Scratch(c)}})
	}
	var ls []devices.Launch
	for range calls {
		l, err := k.Bind(c)
		r.must(err)
		ls = append(ls, l)
	}
	seq, err := r.q.Capture(ls)
	r.must(err)
	r.must(seq.Replay())
	r.sync()
	for b.Loop() {
		r.must(seq.Replay())
		r.sync()
	}
	per := b.Elapsed().Seconds() / float64(b.N*calls)
	b.ReportMetric(per*1e6, "µs/call")
	b.ReportMetric(flops/per/1e12, "T/s")
	b.ReportMetric(k.Cost(c)/1e3, "µs-estimated")
	r.must(seq.Free())
	for _, buf := range bufs {
		r.must(buf.Free())
	}
}

// device uploads a tensor for as long as the benchmark of r runs.
func (r *rig) device(elem graph.DType, layout graph.Layout, fill func(graph.Tensor), dims ...int) devices.Operand {
	r.Helper()
	t := graph.NewTensor(elem, dims...)
	fill(t)
	return r.upload(t, layout)
}

// BenchmarkTernaryGEMM runs every tile on the shapes of BitNet b1.58 2B4T:
// -bench 'TernaryGEMM/13824x2560/M=2048' -benchtime 20x.
func BenchmarkTernaryGEMM(b *testing.B) {
	top := newRig(b)
	b.Log(top.d.Info())
	rng := rand.New(rand.NewPCG(7, 7))
	codes := func(t graph.Tensor) {
		for i := range t.I8() {
			t.I8()[i] = int8(rng.Uint32())
		}
	}
	trits := func(t graph.Tensor) {
		for i := range t.I8() {
			t.I8()[i] = int8(rng.Uint32()%3) - 1
		}
	}
	ones := func(t graph.Tensor) {
		for i := range t.F32() {
			t.F32()[i] = 1
		}
	}
	for _, w := range []size3{{n: 13824, k: 2560}, {n: 2560, k: 6912}, {n: 3840, k: 2560}, {n: 2560, k: 2560}} {
		b.Run(fmt.Sprintf("%dx%d", w.n, w.k), func(b *testing.B) {
			r := &rig{b, top.d, top.q, top.reg}
			t := r.device(graph.Tern, i2x64, trits, w.n, w.k)
			gamma := r.device(graph.F32, "", ones, 1)
			gamma.Dims = nil
			for _, m := range []int{16, 32, 64, 128, 512, 2048, 4096} {
				b.Run(fmt.Sprintf("M=%d", m), func(b *testing.B) {
					r := &rig{b, top.d, top.q, top.reg}
					in := []devices.Operand{r.device(graph.I8, "", codes, m, w.k), r.device(graph.F32, "", ones, m, 1), t, gamma}
					out := []graph.Tensor{graph.NewTensor(graph.F32, m, w.n)}
					for _, k := range r.d.Kernels() {
						if k.Op == bitlinear.IntLinearOp.OpDef {
							b.Run(k.Name, func(b *testing.B) {
								r := &rig{b, top.d, top.q, top.reg}
								r.measure(b, k, graph.None{}, in, out, 2*float64(m)*float64(w.n)*float64(w.k))
							})
						}
					}
				})
			}
		})
	}
}

// BenchmarkNormedPrompt runs what is around products of a prompt of 2048 tokens: the
// norm before them with its codes, and the gated product with its norm.
func BenchmarkNormedPrompt(b *testing.B) {
	top := newRig(b)
	rng := rand.New(rand.NewPCG(12, 12))
	floats := func(t graph.Tensor) {
		for i := range t.F32() {
			t.F32()[i] = rng.Float32() - 0.5
		}
	}
	trits := func(t graph.Tensor) {
		for i := range t.I8() {
			t.I8()[i] = int8(rng.Uint32()%3) - 1
		}
	}
	const m = 2048
	attrs := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	for _, k := range top.d.Kernels() {
		switch k.Op {
		case bitlinear.SubLNQuantOp.OpDef:
			for _, width := range []int{2560, 6912} {
				b.Run(fmt.Sprintf("%s/%d", k.Name, width), func(b *testing.B) {
					r := &rig{b, top.d, top.q, top.reg}
					in := []devices.Operand{r.device(graph.F32, "", floats, m, width), r.device(graph.F32, "", floats, width)}
					out := []graph.Tensor{graph.NewTensor(graph.I8, m, width), graph.NewTensor(graph.F32, m, 1)}
					r.measure(b, k, attrs, in, out, 5*float64(m)*float64(width)) // bytes
				})
			}
		case bitlinear.NormGLUOp.OpDef:
			b.Run(k.Name, func(b *testing.B) {
				r := &rig{b, top.d, top.q, top.reg}
				const n, inner = 6912, 2560
				in := []devices.Operand{r.device(graph.F32, "", floats, m, inner), r.device(graph.F32, "", floats, inner)}
				for range 2 {
					scale := r.device(graph.F32, "", floats, 1)
					scale.Dims = nil
					in = append(in, r.device(graph.Tern, i2x64, trits, n, inner), scale)
				}
				r.measure(b, k, attrs, in, []graph.Tensor{graph.NewTensor(graph.F32, m, n)}, 4.0*m*n*inner)
			})
		}
	}
}

// BenchmarkMatMul runs every kernel on products of a training step of 32768
// tokens: width 512, feed-forward 1408, keys and values 128, vocabulary 8192.
func BenchmarkMatMul(b *testing.B) {
	top := newRig(b)
	rng := rand.New(rand.NewPCG(8, 8))
	fill := func(t graph.Tensor) {
		for i := range t.Len() {
			if v := rng.Float32() - 0.5; t.Elem == graph.F32 {
				t.F32()[i] = v
			} else {
				t.U16()[i] = graph.F32ToBF16(v)
			}
		}
	}
	for _, p := range []struct {
		name    string
		m, k, n int
		ta, tb  bool
	}{
		{"up", 32768, 512, 1408, false, true}, {"up.dx", 32768, 1408, 512, false, false}, {"up.dw", 1408, 32768, 512, true, false},
		{"down", 32768, 1408, 512, false, true}, {"attn", 32768, 512, 512, false, true}, {"attn.dw", 512, 32768, 512, true, false},
		{"kv", 32768, 512, 128, false, true}, {"kv.dx", 32768, 128, 512, false, false}, {"kv.dw", 128, 32768, 512, true, false},
		{"head", 32768, 512, 8192, false, true}, {"head.dx", 32768, 8192, 512, false, false}, {"head.dw", 8192, 32768, 512, true, false},
	} {
		for _, elem := range []graph.DType{graph.BF16, graph.F32} {
			b.Run(fmt.Sprintf("%s/%s", p.name, elem), func(b *testing.B) {
				r := &rig{b, top.d, top.q, top.reg}
				x, y := []int{p.m, p.k}, []int{p.k, p.n}
				if p.ta {
					x = []int{p.k, p.m}
				}
				if p.tb {
					y = []int{p.n, p.k}
				}
				in := []devices.Operand{r.device(elem, "", fill, x...), r.device(elem, "", fill, y...)}
				out := []graph.Tensor{{Elem: elem, Dims: []int{p.m, p.n}}}
				for _, k := range r.d.Kernels() {
					if k.Op == ops.MatMulOp.OpDef {
						b.Run(k.Name, func(b *testing.B) {
							r := &rig{b, top.d, top.q, top.reg}
							r.measure(b, k, ops.MatMulAttrs{TA: p.ta, TB: p.tb}, in, out, 2*float64(p.m)*float64(p.n)*float64(p.k))
						})
					}
				}
			})
		}
	}
}

// BenchmarkCachedAttention runs every kernel on the heads of BitNet b1.58 2B4T:
// a prompt, and decoding for one and for 64 sequences.
func BenchmarkCachedAttention(b *testing.B) {
	top := newRig(b)
	rng := rand.New(rand.NewPCG(9, 9))
	const heads, kv, hd, page = 20, 5, 128, 16
	for _, p := range []struct {
		name                string
		sequences, each, at int // new tokens of each sequence, from position at on
	}{
		{"prompt/2048", 1, 2048, 0}, {"prompt/512", 1, 512, 0}, {"decode/1/512", 1, 1, 512}, {"decode/1/4000", 1, 1, 4000}, {"decode/64/512", 64, 1, 512},
	} {
		b.Run(p.name, func(b *testing.B) {
			r := &rig{b, top.d, top.q, top.reg}
			tokens, width := p.sequences*p.each, (max(4096, p.at+p.each)+page-1)/page
			cache := func() devices.Operand {
				return r.device(graph.F16, "", func(t graph.Tensor) {
					for i := range t.U16() {
						t.U16()[i] = graph.F32ToF16(rng.Float32() - 0.5)
					}
				}, p.sequences*(p.at+p.each+page)/page, page, kv*hd)
			}
			in := []devices.Operand{
				r.device(graph.F32, "", func(t graph.Tensor) {
					for i := range t.F32() {
						t.F32()[i] = rng.Float32() - 0.5
					}
				}, tokens, heads*hd), cache(), cache(),
				r.device(graph.I32, "", func(t graph.Tensor) {
					for i := range t.I32() {
						t.I32()[i] = int32(i / p.each)
					}
				}, tokens),
				r.device(graph.I32, "", func(t graph.Tensor) {
					for i := range t.I32() {
						t.I32()[i] = int32(p.at + i%p.each)
					}
				}, tokens),
				r.device(graph.I32, "", func(t graph.Tensor) {
					blocks := (p.at + p.each + page) / page
					for i := range t.I32() {
						t.I32()[i] = int32(i/width*blocks + min(i%width, blocks-1))
					}
				}, p.sequences, width),
			}
			flops := 4 * heads * hd * float64(tokens) * (float64(p.at) + float64(p.each)/2)
			for _, k := range r.d.Kernels() {
				if k.Op == ops.CachedAttentionOp.OpDef {
					b.Run(k.Name, func(b *testing.B) {
						r := &rig{b, top.d, top.q, top.reg}
						r.measure(b, k, ops.AttentionAttrs{Heads: heads, KVHeads: kv}, in, []graph.Tensor{{Elem: graph.F32, Dims: []int{tokens, heads * hd}}}, flops)
					})
				}
			}
		})
	}
}

// BenchmarkAttention runs every kernel on a training step's attention: 64
// sequences of 512 tokens, 8 heads of 64.
func BenchmarkAttention(b *testing.B) {
	top := newRig(b)
	rng := rand.New(rand.NewPCG(10, 10))
	const tokens, length, heads, hd = 32768, 512, 8, 64
	for _, elem := range []graph.DType{graph.BF16, graph.F32} {
		b.Run(elem.String(), func(b *testing.B) {
			r := &rig{b, top.d, top.q, top.reg}
			matrix := func() devices.Operand {
				return r.device(elem, "", func(t graph.Tensor) {
					for i := range t.Len() {
						if v := rng.Float32() - 0.5; elem == graph.F32 {
							t.F32()[i] = v
						} else {
							t.U16()[i] = graph.F32ToBF16(v)
						}
					}
				}, tokens, heads*hd)
			}
			places := func(f func(i int) int) devices.Operand {
				return r.device(graph.I32, "", func(t graph.Tensor) {
					for i := range t.I32() {
						t.I32()[i] = int32(f(i))
					}
				}, tokens)
			}
			seq, pos := places(func(i int) int { return i / length }), places(func(i int) int { return i % length })
			q, k, v, o, do := matrix(), matrix(), matrix(), matrix(), matrix()
			lse := r.device(graph.F32, "", func(t graph.Tensor) {
				for i := range t.F32() {
					t.F32()[i] = 6
				}
			}, tokens, heads)
			wide, narrow := graph.Tensor{Elem: elem, Dims: []int{tokens, heads * hd}}, graph.Tensor{Elem: graph.F32, Dims: []int{tokens, heads}}
			for _, k2 := range r.d.Kernels() {
				in, out, products := []devices.Operand{q, k, v, seq, pos}, []graph.Tensor{wide, narrow}, 2.0
				switch k2.Op {
				case ops.AttentionOp.OpDef:
				case ops.AttentionGradOp.OpDef:
					in, out, products = []devices.Operand{q, k, v, o, lse, do, seq, pos}, []graph.Tensor{wide, wide, wide}, 5
				default:
					continue
				}
				b.Run(k2.Name, func(b *testing.B) {
					r := &rig{b, top.d, top.q, top.reg}
					r.measure(b, k2, ops.AttentionAttrs{Heads: heads, KVHeads: heads}, in, out, products*2*tokens*length/2*heads*hd)
				})
			}
		})
	}
}
