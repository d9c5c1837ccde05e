package neon

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// quantKernels are the quantizer of activations, alone and with the norm and the
// gate that come before it in a BitNet layer.
func (u *unit) quantKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "quant.act.i8", Op: ops.QuantActOp.OpDef, Order: "max",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(ops.QuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d := c.In[0].Last()
				x, q, s := host.F32(c.In[0]), host.I8(c.Out[0]), host.F32(c.Out[1])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						s[i] = u.isa.QuantizeI8(q[i*d:(i+1)*d], x[i*d:(i+1)*d])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.subln_quant.i8", Op: bitlinear.SubLNQuantOp.OpDef, Order: "f64lanes16",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d, eps := c.In[0].Last(), c.Attrs.(bitlinear.NormQuantAttrs).Eps
				x, g, q, s := host.F32(c.In[0]), host.F32(c.In[1]), host.I8(c.Out[0]), host.F32(c.Out[1])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for i := from; i < to; i++ {
						s[i] = u.isa.RMSNormQuant(q[i*d:(i+1)*d], x[i*d:(i+1)*d], g, eps)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.relu2_glu", Op: bitlinear.ReLU2GLUOp.OpDef, Order: "each",
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				gate, up, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) {
					u.isa.Relu2Mul(y[from:to], gate[from:to], up[from:to])
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.relu2_glu_subln_quant.i8", Op: bitlinear.GLUSubLNQuantOp.OpDef, Order: "f64lanes16",
			Accept: func(c *devices.Call) error { return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits) },
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				parts[float32](s, u.threads, c.In[0].Last())
				return s.size
			},
			Bind: u.bindGLUQuant,
		}),
	}
}

func eightBits(bits int) error {
	if bits != 8 {
		return fmt.Errorf("it quantizes to 8 bits, not %d", bits)
	}
	return nil
}

// bindGLUQuant keeps the gated row of one worker in the cache between the gate
// and the norm that needs it twice.
func (u *unit) bindGLUQuant(c *devices.Call) (devices.Launch, error) {
	d, eps := c.In[0].Last(), c.Attrs.(bitlinear.NormQuantAttrs).Eps
	gate, up, g := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.In[2])
	q, s := host.I8(c.Out[0]), host.F32(c.Out[1])
	rows := parts[float32](bindScratch(c), u.threads, d)
	n := c.In[0].Rows()
	size := max(1, taskElements/max(d, 1))
	return host.Parallel(c, ceilDiv(n, size), func(task, worker int) {
		m := rows[worker]
		for i := task * size; i < min(n, (task+1)*size); i++ {
			u.isa.Relu2Mul(m, gate[i*d:(i+1)*d], up[i*d:(i+1)*d])
			s[i] = u.isa.RMSNormQuant(q[i*d:(i+1)*d], m, g, eps)
		}
	}), nil
}
