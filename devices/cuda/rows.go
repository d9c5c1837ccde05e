package cuda

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// rowKernels lists the kernels of norm.cu and elementwise.cu.
func (d *Device) rowKernels() []devices.Kernel {
	return []devices.Kernel{
		{
			Name: "rmsnorm.f32", Op: ops.RMSNormOp.OpDef, Needs: sm80,
			Accept:  func(c *devices.Call) error { return rowsFit(c.In[0]) },
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Cost:    d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.NormAttrs)
				return d.bindEarly("rmsnorm", perRow(c.In[0]), c.In[0], c.In[1], c.Out[0], int32(c.In[0].Last()), a.Eps)
			},
		},
		{
			Name: "quant_act.i8", Op: ops.QuantActOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.QuantAttrs)
				return d.bindEarly("quant_act", perRow(c.In[0]), c.In[0], c.Out[0], c.Out[1], int32(c.In[0].Last()), a.QMax())
			},
		},
		{
			Name: "subln_quant.i8", Op: bitlinear.SubLNQuantOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(bitlinear.NormQuantAttrs)
				qmax := ops.QuantAttrs{Bits: a.Bits, Round: a.Round}.QMax()
				return d.bindEarly("subln_quant", perRow(c.In[0]), c.In[0], c.In[1], c.Out[0], c.Out[1], int32(c.In[0].Last()), a.Eps, qmax)
			},
		},
		{
			Name: "rescale.f32", Op: bitlinear.RescaleOp.OpDef, Needs: sm80,
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Cost:    d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind("rescale", d.perElement(c.Out[0]), c.In[0], c.In[1], c.In[2], c.Out[0], int64(c.Out[0].Len()), int32(c.Out[0].Last()))
			},
		},
	}
}
