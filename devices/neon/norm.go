package neon

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) normKernels() []devices.Kernel {
	return []devices.Kernel{u.row(devices.Kernel{
		Name: "rmsnorm.f32", Op: ops.RMSNormOp.OpDef, Order: "f64lanes16",
		InPlace: []graph.Update{{In: 0, Out: 0}},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			d, eps := c.In[0].Last(), c.Attrs.(ops.NormAttrs).Eps
			x, g, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
			return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
				for o := from * d; o < to*d; o += d {
					u.isa.RMSNorm(y[o:o+d], x[o:o+d], g, eps)
				}
			}), nil
		},
	})}
}
