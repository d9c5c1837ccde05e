package avx

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) lossKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "cross_entropy.f32", Op: ops.CrossEntropyOp.OpDef,
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				u.lossParts(c, s)
				return s.size
			},
			Bind: u.bindLoss,
		}),
		u.row(devices.Kernel{
			Name: "cross_entropy.grad.f32", Op: ops.CrossEntropyGradOp.OpDef,
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Bind:    u.bindLossGrad,
		}),
	}
}

// lossParts is a row of exponentials for each worker, and each row's loss.
func (u *unit) lossParts(c *devices.Call, s *scratch) (rows [][]float32, losses []float64) {
	return parts[float32](s, u.threads, c.In[0].Last()), part[float64](s, c.In[0].Dims[0])
}

// bindLoss sums the losses of rows in order.
func (u *unit) bindLoss(c *devices.Call) (devices.Launch, error) {
	n, v, ignore := c.In[0].Dims[0], c.In[0].Last(), c.Attrs.(ops.IgnoreAttrs).Ignore
	x, targets := f32(c.In[0]), host.I32(c.In[1])
	loss, lse := f32(c.Out[0]), f32(c.Out[1])
	rows, losses := u.lossParts(c, bindScratch(c))
	size := max(1, taskElements/max(v, 1))
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: ceilDiv(n, size), Run: func(task, worker int) {
			e := rows[worker]
			for i := task * size; i < min(n, (task+1)*size); i++ {
				row := x[i*v : (i+1)*v]
				top := u.isa.Max(row)
				u.isa.ExpScaled(e, row, 1, top)
				l := float64(top) + math.Log(float64(u.isa.Sum(e)))
				lse[i] = float32(l)
				if t := int(targets[i]); t != ignore {
					checkTarget(t, i, v)
					losses[i] = l - float64(row[t])
				}
			}
		}},
		{Tasks: 1, Run: func(int, int) {
			sum, count := 0.0, 0
			for i, t := range targets {
				if int(t) != ignore {
					sum += losses[i]
					count++
				}
			}
			loss[0] = float32(sum / float64(max(count, 1)))
		}},
	}}, nil
}

func checkTarget(t, i, vocab int) {
	if t < 0 || t >= vocab {
		host.Fail(fmt.Errorf("target %d at %d is outside the vocabulary of %d", t, i, vocab))
	}
}

func (u *unit) bindLossGrad(c *devices.Call) (devices.Launch, error) {
	n, v, ignore := c.In[0].Dims[0], c.In[0].Last(), c.Attrs.(ops.IgnoreAttrs).Ignore
	x, targets, lse, dloss := f32(c.In[0]), host.I32(c.In[1]), f32(c.In[2]), f32(c.In[3])
	dx := f32(c.Out[0])
	var g float32 // dloss over the number of counted rows
	size := max(1, taskElements/max(v, 1))
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: 1, Run: func(int, int) {
			count := 0
			for _, t := range targets {
				if int(t) != ignore {
					count++
				}
			}
			g = dloss[0] / float32(max(count, 1))
		}},
		{Tasks: ceilDiv(n, size), Run: func(task, _ int) {
			for i := task * size; i < min(n, (task+1)*size); i++ {
				row, d := x[i*v:(i+1)*v], dx[i*v:(i+1)*v]
				t := int(targets[i])
				if t == ignore {
					clear(d)
					continue
				}
				checkTarget(t, i, v)
				u.isa.ExpScaled(d, row, 1, lse[i])
				d[t]--
				u.isa.Scale(d, d, g)
			}
		}},
	}}, nil
}
