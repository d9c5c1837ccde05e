package avx

import (
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// distillKernels compare predictions and token relations with a teacher's.
func (u *unit) distillKernels() []devices.Kernel {
	row := func(c *devices.Call) int {
		s := &scratch{}
		u.lossParts(c, s)
		return s.size
	}
	return []devices.Kernel{
		u.row(devices.Kernel{Name: "distill.f32", Op: ops.DistillOp.OpDef, Scratch: row, Bind: u.bindDistill}),
		u.row(devices.Kernel{
			Name: "distill.grad.f32", Op: ops.DistillGradOp.OpDef, Scratch: row,
			InPlace: []graph.Update{{In: 0, Out: 0}}, Bind: u.bindDistillGrad,
		}),
		u.row(devices.Kernel{
			Name: "relation.f32", Op: ops.RelationOp.OpDef, Bind: u.bindRelation,
			Scratch: func(c *devices.Call) int { s := &scratch{}; u.newRelation(c, s); return s.size },
		}),
		u.row(devices.Kernel{
			Name: "relation.grad.f32", Op: ops.RelationGradOp.OpDef, Bind: u.bindRelationGrad,
			Scratch: func(c *devices.Call) int { s := &scratch{}; u.newRelation(c, s); return s.size },
		}),
	}
}

// logSumExp is log Σ exp(x·by) of a row; e gets the exponentials of what lies below
// the largest.
func (u *unit) logSumExp(e, x []float32, by float32) (lse float64, sum float32) {
	top := u.isa.Max(x) * by
	u.isa.ExpScaled(e, x, by, top)
	sum = u.isa.Sum(e)
	return float64(top) + math.Log(float64(sum)), sum
}

// divergence is Σ p·(log p − log q) of a row, with p = e/sum the softmax of t·byT and
// q that of x·byX, given their log-sum-exps.
func divergence(e, t, x []float32, sum, byT, byX float32, lp, lq float64) float64 {
	s := 0.0
	t, x = t[:len(e)], x[:len(e)]
	for j, p := range e {
		if p > 0 {
			s += float64(p) * (float64(t[j])*float64(byT) - float64(x[j])*float64(byX))
		}
	}
	return s/float64(sum) - lp + lq
}

func (u *unit) bindDistill(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(ops.DistillAttrs)
	n, v, by := c.In[0].Dims[0], c.In[0].Last(), float32(1/a.Temperature)
	x, teacher, targets := f32(c.In[0]), f32(c.In[1]), host.I32(c.In[2])
	loss, lse, teacherLSE := f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
	rows, losses := u.lossParts(c, bindScratch(c))
	size := max(1, taskElements/max(v, 1))
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: ceilDiv(n, size), Run: func(task, worker int) {
			e := rows[worker]
			for i := task * size; i < min(n, (task+1)*size); i++ {
				own, t := x[i*v:(i+1)*v], teacher[i*v:(i+1)*v]
				lq, _ := u.logSumExp(e, own, by)
				lp, sum := u.logSumExp(e, t, by)
				lse[i], teacherLSE[i] = float32(lq), float32(lp)
				if int(targets[i]) != a.Ignore {
					losses[i] = divergence(e, t, own, sum, by, by, lp, lq)
				}
			}
		}},
		{Tasks: 1, Run: func(int, int) {
			sum, count := 0.0, 0
			for i, t := range targets {
				if int(t) != a.Ignore {
					sum += losses[i]
					count++
				}
			}
			loss[0] = float32(sum / float64(max(count, 1)))
		}},
	}}, nil
}

func (u *unit) bindDistillGrad(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(ops.DistillAttrs)
	n, v, by := c.In[0].Dims[0], c.In[0].Last(), float32(1/a.Temperature)
	x, teacher, targets := f32(c.In[0]), f32(c.In[1]), host.I32(c.In[2])
	lse, teacherLSE, dloss, dx := f32(c.In[3]), f32(c.In[4]), f32(c.In[5]), f32(c.Out[0])
	rows, _ := u.lossParts(c, bindScratch(c))
	var g float32 // dloss/T over the number of counted rows
	size := max(1, taskElements/max(v, 1))
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: 1, Run: func(int, int) {
			count := 0
			for _, t := range targets {
				if int(t) != a.Ignore {
					count++
				}
			}
			g = dloss[0] * by / float32(max(count, 1))
		}},
		{Tasks: ceilDiv(n, size), Run: func(task, worker int) {
			p := rows[worker]
			for i := task * size; i < min(n, (task+1)*size); i++ {
				d := dx[i*v : (i+1)*v]
				if int(targets[i]) == a.Ignore {
					clear(d)
					continue
				}
				u.isa.ExpScaled(p, teacher[i*v:(i+1)*v], by, teacherLSE[i])
				u.isa.ExpScaled(d, x[i*v:(i+1)*v], by, lse[i])
				for j, w := range p {
					d[j] = (d[j] - w) * g
				}
			}
		}},
	}}, nil
}
