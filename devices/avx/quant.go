package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// quantKernels are the quantizers of activations and weights, alone and with
// the norm and the gate that come before them in a BitNet layer.
func (u *unit) quantKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "quant.act.i8", Op: ops.QuantActOp.OpDef, Order: "max",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(ops.QuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d := c.In[0].Last()
				x, q, s := f32(c.In[0]), host.I8(c.Out[0]), f32(c.Out[1])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						s[i], _ = u.isa.QuantizeI8(q[i*d:(i+1)*d], x[i*d:(i+1)*d])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.subln_quant.i8", Op: bitlinear.SubLNQuantOp.OpDef, Order: "lanes32",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d, eps := c.In[0].Last(), float32(c.Attrs.(bitlinear.NormQuantAttrs).Eps)
				x, g, q, s := f32(c.In[0]), f32(c.In[1]), host.I8(c.Out[0]), f32(c.Out[1])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						s[i], _ = u.isa.RMSNormQuant(q[i*d:(i+1)*d], x[i*d:(i+1)*d], g, eps)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.relu2_glu", Op: bitlinear.ReLU2GLUOp.OpDef, Order: "each",
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				g, up, y := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) {
					u.isa.Relu2Mul(y[from:to], g[from:to], up[from:to])
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.relu2_glu_subln_quant.i8", Op: bitlinear.GLUSubLNQuantOp.OpDef, Order: "lanes32",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits) },
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				parts[float32](s, u.threads, c.In[0].Last())
				return s.size
			},
			Bind: u.bindGLUQuant,
		}),
		u.row(devices.Kernel{
			Name: "quant.fake.i8", Op: ops.FakeQuantOp.OpDef, Order: "max",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Accept:  func(c *devices.Call) error { return eightBits(c.Attrs.(ops.QuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d := c.In[0].Last()
				x, y := f32(c.In[0]), f32(c.Out[0])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						u.isa.FakeQuantI8(y[i*d:(i+1)*d], x[i*d:(i+1)*d])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.fake.absmean", Op: ternary.FakeOp.OpDef, Order: "sum64x16",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Accept:  func(c *devices.Call) error { return wantElem(c.In[0], graph.F32) },
			Scratch: absMeanScratch,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				y := f32(c.Out[0])
				return u.bindAbsMean(c, func(w []float32, from int, s, gamma float32) {
					u.isa.FakeQuantTernary(y[from:from+len(w)], w, s, gamma)
				}, nil), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.quantize.absmean", Op: ternary.QuantizeOp.OpDef, Order: "sum64x16",
			Scratch: absMeanScratch,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				codes := host.I8(c.Out[0])
				return u.bindAbsMean(c, func(w []float32, from int, s, _ float32) {
					u.isa.QuantizeTernary(codes[from:from+len(w)], w, s)
				}, f32(c.Out[1])), nil
			},
		}),
	}
}

func eightBits(bits int) error {
	if bits != 8 {
		return fmt.Errorf("it quantizes to 8 bits, not %d", bits)
	}
	return nil
}

func wantElem(o devices.Operand, elem graph.DType) error {
	if o.Elem != elem {
		return fmt.Errorf("it takes %s, not %s", elem, o.Elem)
	}
	return nil
}

// bindGLUQuant keeps the gated row of one worker in the cache between the gate
// and the norm that needs it twice.
func (u *unit) bindGLUQuant(c *devices.Call) (devices.Launch, error) {
	d, eps := c.In[0].Last(), float32(c.Attrs.(bitlinear.NormQuantAttrs).Eps)
	gate, up, g := f32(c.In[0]), f32(c.In[1]), f32(c.In[2])
	q, s := host.I8(c.Out[0]), f32(c.Out[1])
	rows := parts[float32](bindScratch(c), u.threads, d)
	n := c.In[0].Rows()
	size := max(1, taskElements/max(d, 1))
	return host.Parallel(c, ceilDiv(n, size), func(task, worker int) {
		m := rows[worker]
		for i := task * size; i < min(n, (task+1)*size); i++ {
			u.isa.Relu2Mul(m, gate[i*d:(i+1)*d], up[i*d:(i+1)*d])
			s[i], _ = u.isa.RMSNormQuant(q[i*d:(i+1)*d], m, g, eps)
		}
	}), nil
}

// absMeanBlock is how many weights one task sums and quantizes. The sums of
// blocks are added in order, so the scale does not depend on who made them.
const absMeanBlock = 32 << 10

func absMeanScratch(c *devices.Call) int {
	s := &scratch{}
	part[float64](s, ceilDiv(c.In[0].Len(), absMeanBlock))
	return s.size
}

// bindAbsMean finds the scale of a whole matrix, then calls quantize for every
// block of it, widened to f32. gamma, if given, receives the scale.
func (u *unit) bindAbsMean(c *devices.Call, quantize func(w []float32, from int, s, gamma float32), gamma []float32) devices.Launch {
	n := c.In[0].Len()
	load := u.widener(c.In[0])
	blocks := ceilDiv(n, absMeanBlock)
	sums := part[float64](bindScratch(c), blocks)
	var s, g float32
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: blocks, Run: func(task, _ int) {
			sums[task] = sumAbs(u.isa, load, task*absMeanBlock, min(n, (task+1)*absMeanBlock))
		}},
		{Tasks: 1, Run: func(int, int) {
			total := 0.0
			for _, v := range sums {
				total += v
			}
			s, g = asm.TernaryScale(total, n)
			if len(gamma) > 0 {
				gamma[0] = g
			}
		}},
		{Tasks: blocks, Run: func(task, _ int) {
			var buf [widenBlock]float32
			to := min(n, (task+1)*absMeanBlock)
			for from := task * absMeanBlock; from < to; from += widenBlock {
				quantize(load(&buf, from, min(to, from+widenBlock)), from, s, g)
			}
		}},
	}}
}

// sumAbs is Σ|w| over a range, in an order that depends on the range alone.
func sumAbs(isa asm.ISA, load loader, from, to int) float64 {
	var buf [widenBlock]float32
	sum := 0.0
	for ; from < to; from += widenBlock {
		sum += isa.SumAbs(load(&buf, from, min(to, from+widenBlock)))
	}
	return sum
}

// widenBlock is how many elements of a half-precision tensor are widened at a
// time: they stay in the L1 cache.
const widenBlock = 2048

// loader returns elements [from,to) of a tensor as f32, at most widenBlock of
// them: in place, or widened into buf.
type loader func(buf *[widenBlock]float32, from, to int) []float32

// widener makes the loader of a floating-point operand.
func (u *unit) widener(o devices.Operand) loader {
	switch o.Elem {
	case graph.BF16:
		x := host.U16(o)
		return func(buf *[widenBlock]float32, from, to int) []float32 {
			u.isa.BF16ToF32(buf[:to-from], x[from:to])
			return buf[:to-from]
		}
	case graph.F16:
		x := host.U16(o)
		return func(buf *[widenBlock]float32, from, to int) []float32 {
			u.isa.F16ToF32(buf[:to-from], x[from:to])
			return buf[:to-from]
		}
	}
	x := f32(o)
	return func(_ *[widenBlock]float32, from, to int) []float32 { return x[from:to] }
}
