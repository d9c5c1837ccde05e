package avx

import (
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// relation is a bound call of ops.RelationOp or its gradient: one task is a block of
// tokens, each with all heads.
type relation struct {
	u                 *unit
	heads, n          int
	own, teacher      side
	seq               []int32
	ownRows, teachers [][]float32 // by worker: a token's scores, of the tokens of its sequence
	exps              [][]float32 // by worker
	which             [][]int32   // by worker: those tokens
	losses            []float64   // by token
}

// side is one model's rows, split into heads of width d.
type side struct {
	x        []float32
	width, d int
	by       float32 // 1/√d
}

func newSide(o devices.Operand, heads int) side {
	d := max(1, o.Last()/heads)
	return side{f32(o), o.Last(), d, float32(1 / math.Sqrt(float64(d)))}
}

func (s *side) row(i, h int) []float32 { return s.x[i*s.width+h*s.d:][:s.d] }

func (u *unit) newRelation(c *devices.Call, s *scratch) *relation {
	n, heads := c.In[0].Dims[0], c.Attrs.(ops.RelationAttrs).Heads
	return &relation{
		u: u, heads: heads, n: n, own: newSide(c.In[0], heads), teacher: newSide(c.In[1], heads), seq: host.I32(c.In[2]),
		ownRows: parts[float32](s, u.threads, n), teachers: parts[float32](s, u.threads, n),
		exps:  parts[float32](s, u.threads, n),
		which: parts[int32](s, u.threads, n), losses: part[float64](s, n),
	}
}

// tokens lists the tokens of i's sequence.
func (r *relation) tokens(worker, i int) []int32 {
	w, k := r.which[worker], 0
	for j, s := range r.seq {
		if s == r.seq[i] {
			w[k] = int32(j)
			k++
		}
	}
	return w[:k]
}

// scores fills dst with the products of token i's row and those of the tokens.
func (r *relation) scores(dst []float32, s *side, tokens []int32, i, h int) []float32 {
	dst = dst[:len(tokens)]
	x := s.row(i, h)
	for k, j := range tokens {
		dst[k] = r.u.isa.Dot(x, s.row(int(j), h))
	}
	return dst
}

// launch runs each for every token, then last.
func (r *relation) launch(c *devices.Call, each func(worker, i int), last func()) host.Launch {
	size := max(1, taskElements/max(1, r.n*r.heads))
	l := host.Launch{Where: c.Where, Phases: []host.Phase{{Tasks: ceilDiv(r.n, size), Run: func(task, worker int) {
		for i := task * size; i < min(r.n, (task+1)*size); i++ {
			each(worker, i)
		}
	}}}}
	if last != nil {
		l.Phases = append(l.Phases, host.Phase{Tasks: 1, Run: func(int, int) { last() }})
	}
	return l
}

func (u *unit) bindRelation(c *devices.Call) (devices.Launch, error) {
	r := u.newRelation(c, bindScratch(c))
	loss, lse, teacherLSE := f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
	return r.launch(c, func(worker, i int) {
		tokens := r.tokens(worker, i)
		e := r.exps[worker][:len(tokens)]
		r.losses[i] = 0
		for h := range r.heads {
			q := r.scores(r.ownRows[worker], &r.own, tokens, i, h)
			p := r.scores(r.teachers[worker], &r.teacher, tokens, i, h)
			lq, _ := u.logSumExp(e, q, r.own.by)
			lp, sum := u.logSumExp(e, p, r.teacher.by)
			lse[i*r.heads+h], teacherLSE[i*r.heads+h] = float32(lq), float32(lp)
			r.losses[i] += divergence(e, p, q, sum, r.teacher.by, r.own.by, lp, lq)
		}
	}, func() {
		sum := 0.0
		for _, v := range r.losses {
			sum += v
		}
		loss[0] = float32(sum / float64(max(r.n*r.heads, 1)))
	}), nil
}

// bindRelationGrad uses that scores are symmetric: what row j of the matrix adds to
// token i is known from i's own row and the log-sum-exps, so that tokens are
// independent.
func (u *unit) bindRelationGrad(c *devices.Call) (devices.Launch, error) {
	r := u.newRelation(c, bindScratch(c))
	lse, teacherLSE, dloss, dx := f32(c.In[3]), f32(c.In[4]), f32(c.In[5]), f32(c.Out[0])
	return r.launch(c, func(worker, i int) {
		tokens := r.tokens(worker, i)
		e := r.exps[worker][:len(tokens)]
		by := dloss[0] * r.own.by / float32(r.n*r.heads)
		for h := range r.heads {
			q := r.scores(r.ownRows[worker], &r.own, tokens, i, h)
			p := r.scores(r.teachers[worker], &r.teacher, tokens, i, h)
			r.both(q, e, tokens, lse, i, h, r.own.by)
			r.both(p, e, tokens, teacherLSE, i, h, r.teacher.by)
			d := dx[i*r.own.width+h*r.own.d:][:r.own.d]
			clear(d)
			for k, j := range tokens {
				u.isa.Axpy(d, r.own.row(int(j), h), (q[k]-p[k])*by)
			}
		}
	}, nil), nil
}

// both replaces the scores of token i by e^(s − lse_i) + e^(s − lse_j).
func (r *relation) both(s, e []float32, tokens []int32, lse []float32, i, h int, by float32) {
	r.u.isa.ExpScaled(e, s, by, lse[i*r.heads+h])
	for k, j := range tokens {
		s[k] = s[k]*by - lse[int(j)*r.heads+h]
	}
	r.u.isa.Exp(s, s)
	r.u.isa.Add(s, s, e)
}
