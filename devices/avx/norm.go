package avx

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) normKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "rmsnorm.f32", Op: ops.RMSNormOp.OpDef, Order: "lanes32",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				d, eps := c.In[0].Last(), float32(c.Attrs.(ops.NormAttrs).Eps)
				x, g, y := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for o := from * d; o < to*d; o += d {
						u.isa.RMSNorm(y[o:o+d], x[o:o+d], g, eps)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "rmsnorm.grad.f32", Op: ops.RMSNormGradOp.OpDef,
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 0}},
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				u.normGradParts(c, s)
				return s.size
			},
			Bind: u.bindNormGrad,
		}),
	}
}

// normGradRows is the rows of a task; their share of dg is summed first, in
// order, then the shares of all tasks, in order.
const normGradRows = 32

func (u *unit) normGradParts(c *devices.Call, s *scratch) (rows, shares [][]float32) {
	d := c.In[0].Last()
	return parts[float32](s, u.threads, 2*d), parts[float32](s, ceilDiv(c.In[0].Rows(), normGradRows), d)
}

// bindNormGrad computes, with n = x·r,
// dx = r·(g·dy − n·mean(g·dy·n)) and dg = Σ_rows dy·n.
func (u *unit) bindNormGrad(c *devices.Call) (devices.Launch, error) {
	d, eps := c.In[0].Last(), float32(c.Attrs.(ops.NormAttrs).Eps)
	n := c.In[0].Rows()
	x, g, dy := f32(c.In[0]), f32(c.In[1]), f32(c.In[2])
	dx, dg := f32(c.Out[0]), f32(c.Out[1])
	temps, shares := u.normGradParts(c, bindScratch(c))
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: len(shares), Run: func(task, worker int) {
			share := shares[task]
			clear(share)
			norm, gdy := temps[worker][:d], temps[worker][d:]
			for i := task * normGradRows; i < min(n, (task+1)*normGradRows); i++ {
				row := i * d
				xr, dyr, out := x[row:row+d], dy[row:row+d], dx[row:row+d]
				r := u.isa.InvRMS(xr, eps)
				u.isa.Scale(norm, xr, r)
				u.isa.Mul(gdy, g, dyr)
				mean := u.isa.Dot(gdy, norm) / float32(d)
				u.isa.MulAdd(share, dyr, norm)
				u.isa.Axpy(gdy, norm, -mean)
				u.isa.Scale(out, gdy, r)
			}
		}},
		{Tasks: 1, Run: func(int, int) {
			clear(dg)
			for _, share := range shares {
				u.isa.Add(dg, dg, share)
			}
		}},
	}}, nil
}
