package avx

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) softmaxKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "softmax.f32", Op: ops.SoftmaxOp.OpDef, Order: "lanes32",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, y, d := f32(c.In[0]), f32(c.Out[0]), c.In[0].Last()
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for o := from * d; o < to*d; o += d {
						u.isa.Softmax(y[o:o+d], x[o:o+d], 1)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "softmax.grad.f32", Op: ops.SoftmaxGradOp.OpDef, Order: "lanes32",
			InPlace: []graph.Update{{In: 1, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				y, dy, dx, d := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0]), c.In[0].Last()
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for o := from * d; o < to*d; o += d {
						dot := u.isa.Dot(y[o:o+d], dy[o:o+d])
						for j := o; j < o+d; j++ {
							dx[j] = y[j] * (dy[j] - dot)
						}
					}
				}), nil
			},
		}),
	}
}
