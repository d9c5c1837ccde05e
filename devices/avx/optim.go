package avx

import (
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) optimizerKernels() []devices.Kernel {
	return []devices.Kernel{
		u.sumKernel(ops.SumOp.OpDef, u.isa.Sum),
		u.sumKernel(ops.SqSumOp.OpDef, u.isa.SumSquares),
		u.row(devices.Kernel{
			Name: "clip", Op: ops.ClipOp.OpDef,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				sq := make([][]float32, len(c.In))
				for i := range sq {
					sq[i] = f32(c.In[i])
				}
				limit := c.Attrs.(ops.ClipAttrs).Max
				factor, norm := f32(c.Out[0]), f32(c.Out[1])
				return host.Serial(c, func() {
					sum := 0.0
					for _, s := range sq {
						sum += float64(s[0])
					}
					n, f := math.Sqrt(sum), 1.0
					if limit > 0 && !(n <= limit) {
						f = limit / (n + 1e-6)
					}
					factor[0], norm[0] = float32(f), float32(n)
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "adamw.f32", Op: ops.AdamWOp.OpDef,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				p, g, m, v := f32(c.In[0]), f32(c.In[1]), f32(c.In[2]), f32(c.In[3])
				hyper, factor := f32(c.In[4]), f32(c.In[5])
				attrs := c.Attrs.(ops.AdamWAttrs)
				first, last := attrs.Owned(len(p))
				p = p[first:last]
				return rowChunks(c, len(p), 1, func(from, to int) {
					s := ops.NewAdamWStep(attrs, hyper, factor[0])
					u.isa.AdamW(p[from:to], g[from:to], m[from:to], v[from:to], asm.AdamW{
						Grad: s.Factor, Decay: s.Keep, Beta1: s.Beta1, Mix1: s.Rest1, Beta2: s.Beta2, Mix2: s.Rest2,
						InvRoot: 1 / s.BC2, Eps: s.Eps, Rate: s.Step,
					})
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ema.f32", Op: ops.EMAOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				e, p, a := f32(c.In[0]), f32(c.In[1]), c.Attrs.(ops.EMAAttrs)
				return rowChunks(c, len(e), 1, func(from, to int) { a.Update(e[from:to], p[from:to]) }), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "quant.blend.f32", Op: ops.BlendOp.OpDef, Order: "each",
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, q, lambda, y := f32(c.In[0]), f32(c.In[1]), f32(c.In[2]), f32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) { ops.BlendF32(y[from:to], x[from:to], q[from:to], lambda[0]) }), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "accumulate.f32", Op: ops.AccumulateOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				acc, x, first := f32(c.In[0]), f32(c.In[1]), f32(c.In[2])
				return rowChunks(c, len(acc), 1, func(from, to int) {
					if first[0] != 0 {
						copy(acc[from:to], x[from:to])
						return
					}
					u.isa.Add(acc[from:to], acc[from:to], x[from:to])
				}), nil
			},
		}),
	}
}

// sumBlock is how many elements one task adds in f32; the sums of blocks are
// added in order, in float64.
const sumBlock = 16 << 10

func (u *unit) sumKernel(op *graph.OpDef, sum func([]float32) float32) devices.Kernel {
	return u.row(devices.Kernel{
		Name: op.Name + ".f32", Op: op,
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			part[float32](s, ceilDiv(c.In[0].Len(), sumBlock))
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, y := f32(c.In[0]), f32(c.Out[0])
			blocks := ceilDiv(len(x), sumBlock)
			if blocks == 1 {
				return host.Serial(c, func() { y[0] = sum(x) }), nil
			}
			sums := part[float32](bindScratch(c), blocks)
			return host.Launch{Where: c.Where, Phases: []host.Phase{
				{Tasks: blocks, Run: func(task, _ int) {
					sums[task] = sum(x[task*sumBlock : min(len(x), (task+1)*sumBlock)])
				}},
				{Tasks: 1, Run: func(int, int) {
					total := 0.0
					for _, s := range sums {
						total += float64(s)
					}
					y[0] = float32(total)
				}},
			}}, nil
		},
	})
}
