package avx

import (
	"errors"
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
			Name: "quant.act.i4", Op: ops.QuantActOp.OpDef, Order: "max",
			Accept: func(c *devices.Call) error { return fourBits(c.Attrs.(ops.QuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, d := c.Attrs.(ops.QuantAttrs), c.In[0].Last()
				x, q, s := f32(c.In[0]), host.I8(c.Out[0]), f32(c.Out[1])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						s[i] = a.Row(q[i*d:(i+1)*d], x[i*d:(i+1)*d])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "quant.fake.i4", Op: ops.FakeQuantOp.OpDef, Order: "max",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Accept:  func(c *devices.Call) error { return fourBits(c.Attrs.(ops.QuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, d := c.Attrs.(ops.QuantAttrs), c.In[0].Last()
				x, y := f32(c.In[0]), f32(c.Out[0])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						a.FakeRow(y[i*d:(i+1)*d], x[i*d:(i+1)*d])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "quant.dequant.i8", Op: ops.DequantOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d := c.In[0].Last()
				q, s, y := host.I8(c.In[0]), f32(c.In[1]), f32(c.Out[0])
				return rowChunks(c, len(s), d, func(from, to int) {
					for i := from; i < to; i++ {
						u.isa.DequantI8(y[i*d:(i+1)*d], q[i*d:(i+1)*d], s[i])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.dequant", Op: ternary.DequantOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				t, gamma, y := host.I8(c.In[0]), f32(c.In[1]), f32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) {
					u.isa.DequantTernary(y[from:to], t[from:to], gamma[0])
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.fake.absmean", Op: ternary.FakeOp.OpDef, Order: "sum64x16",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Accept: func(c *devices.Call) error {
				return errors.Join(wholeMatrix(c), wantElem(c.In[0], graph.F32))
			},
			Scratch: u.absMeanScratch,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				y := f32(c.Out[0])
				return u.bindAbsMean(c, func(w []float32, from int, s, gamma float32) {
					u.isa.FakeQuantTernary(y[from:from+len(w)], w, s, gamma)
				}, nil), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.quantize.absmean", Op: ternary.QuantizeOp.OpDef, Order: "sum64x16",
			Accept:  wholeMatrix,
			Scratch: u.absMeanScratch,
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

func fourBits(bits int) error {
	if bits != 4 {
		return fmt.Errorf("it quantizes to 4 bits, not %d", bits)
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

func (u *unit) absMeanScratch(c *devices.Call) int {
	s := &scratch{}
	u.absMeanParts(c, s)
	return s.size
}

func (u *unit) absMeanParts(c *devices.Call, s *scratch) (sums []float64, load *loader) {
	return part[float64](s, ceilDiv(c.In[0].Len(), absMeanBlock)), u.newLoader(c.In[0], s)
}

// bindAbsMean finds the scale of a whole matrix, then calls quantize for every
// block of it, widened to f32. gamma, if given, receives the scale.
func (u *unit) bindAbsMean(c *devices.Call, quantize func(w []float32, from int, s, gamma float32), gamma []float32) devices.Launch {
	n := c.In[0].Len()
	sums, load := u.absMeanParts(c, bindScratch(c))
	var s, g float32
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: len(sums), Run: func(task, worker int) {
			sum, to := 0.0, min(n, (task+1)*absMeanBlock)
			for from := task * absMeanBlock; from < to; from += widenBlock {
				sum += u.isa.SumAbs(load.get(worker, from, min(to, from+widenBlock)))
			}
			sums[task] = sum
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
		{Tasks: len(sums), Run: func(task, worker int) {
			to := min(n, (task+1)*absMeanBlock)
			for from := task * absMeanBlock; from < to; from += widenBlock {
				quantize(load.get(worker, from, min(to, from+widenBlock)), from, s, g)
			}
		}},
	}}
}

// widenBlock is how many elements of a half-precision tensor are widened at a
// time: they stay in the L1 cache.
const widenBlock = 2048

// loader reads a floating-point operand as f32.
type loader struct {
	isa  asm.ISA
	elem graph.DType
	f    []float32
	h    []uint16
	buf  [][]float32 // by worker
}

func (u *unit) newLoader(o devices.Operand, s *scratch) *loader {
	l := &loader{isa: u.isa, elem: o.Elem, f: f32(o), h: host.U16(o)}
	if o.Elem != graph.F32 {
		l.buf = parts[float32](s, u.threads, widenBlock)
	}
	return l
}

// get returns elements [from,to), at most widenBlock of them: where they are, or
// widened into the worker's buffer.
func (l *loader) get(worker, from, to int) []float32 {
	if l.elem == graph.F32 {
		return l.f[from:to]
	}
	buf := l.buf[worker][:to-from]
	if l.elem == graph.BF16 {
		l.isa.BF16ToF32(buf, l.h[from:to])
	} else {
		l.isa.F16ToF32(buf, l.h[from:to])
	}
	return buf
}
