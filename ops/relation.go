package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// RelationAttrs holds the number of relation heads that the widths of both
// sides are split into. It need not be the number of attention heads.
type RelationAttrs struct{ Heads int }

func (a RelationAttrs) check(in []graph.Type) error {
	if err := Check(in, F32("x", 2), F32("teacher", 2), I32("seq", 1)); err != nil {
		return err
	}
	for i, name := range []string{"x", "teacher"} {
		if d, ok := in[i].Last().Const(); a.Heads < 1 || !ok || d == 0 || d%a.Heads != 0 {
			return fmt.Errorf("%s is %s, not a whole number of %d relation heads", name, in[i], a.Heads)
		}
	}
	if err := EqualDim("x", in[0].Shape[0], "teacher", in[1].Shape[0]); err != nil {
		return err
	}
	return EqualDim("x", in[0].Shape[0], "seq", in[2].Shape[0])
}

// RelationOp compares how tokens relate to each other in two models (Wang et
// al. 2021, "MiniLMv2"; Wu et al. 2025, "BitNet Distillation"). For each of the
// relation heads, with width d, row i of a side's relation matrix is the softmax
// over the tokens j of i's sequence of x_i·x_j/√d; the loss is the mean over
// tokens and heads of KL(teacher's row ‖ own row), in nats. The widths of the two
// sides may differ. The teacher is a constant: it gets no gradient. The other
// results are both sides' log-sum-exps, which the gradient needs.
var RelationOp = graph.Define(graph.Def[RelationAttrs]{
	Name: "relation", Doc: "mean KL divergence from a teacher's token relations", In: "x, teacher, seq", Out: "loss, lse, teacher_lse",
	BF16: "x, teacher ->",
	Infer: func(a RelationAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in); err != nil {
			return nil, err
		}
		lse := graph.T(graph.F32, in[0].Shape[0], graph.C(a.Heads))
		return []graph.Type{scalarF32, lse, lse}, nil
	},
	Ref: func(a RelationAttrs, in, out []graph.Tensor) error {
		own, teacher, seq := newRelation(a, in[0]), newRelation(a, in[1]), in[2].I32()
		q, p := make([]float64, len(seq)), make([]float64, len(seq))
		var sum float64
		for i := range seq {
			for h := range a.Heads {
				lq, lp := own.scores(q, seq, i, h), teacher.scores(p, seq, i, h)
				out[1].F32()[i*a.Heads+h], out[2].F32()[i*a.Heads+h] = float32(lq), float32(lp)
				for j := range seq {
					if e := math.Exp(p[j] - lp); seq[j] == seq[i] && e > 0 {
						sum += e * (p[j] - lp - (q[j] - lq))
					}
				}
			}
		}
		out[0].F32()[0] = float32(sum / float64(max(len(seq)*a.Heads, 1)))
		return nil
	},
	Grad: func(a RelationAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		if c.DOut[1].Valid() || c.DOut[2].Valid() {
			return nil, fmt.Errorf("the log-sum-exp results are not differentiable")
		}
		return []graph.Value{RelationGradOp.One(a, c.In[0], c.In[1], c.In[2], c.Out[1], c.Out[2], c.DOut[0])}, nil
	},
})

// Relation returns the scalar divergence of the token relations of x f32[S,D]
// from those of a teacher's f32[S,E]; seq i32[S] tells sequences apart.
func Relation(x, teacher, seq graph.Value, heads int) graph.Value {
	return RelationOp.Emit(RelationAttrs{heads}, x, teacher, seq)[0]
}

// RelationGradOp differentiates RelationOp. With g_ij = (q_ij − p_ij)·dloss/(S·H·√d),
// and since x stands on both sides of the product, dx_i = Σ_j (g_ij + g_ji)·x_j.
var RelationGradOp = graph.Define(graph.Def[RelationAttrs]{
	Name: "relation.grad", Doc: "gradient of relation", In: "x, teacher, seq, lse, teacher_lse, dloss", Out: "dx",
	BF16: "x, teacher -> dx",
	Infer: func(a RelationAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in[:3]); err != nil {
			return nil, err
		}
		lse := graph.T(graph.F32, in[0].Shape[0], graph.C(a.Heads))
		if !in[3].Equal(lse) || !in[4].Equal(lse) {
			return nil, fmt.Errorf("lse is %s and teacher_lse %s, want %s", in[3], in[4], lse)
		}
		return one(in[0]), Check(in[5:], F32("dloss", 0))
	},
	Ref: func(a RelationAttrs, in, out []graph.Tensor) error {
		own, teacher, seq := newRelation(a, in[0]), newRelation(a, in[1]), in[2].I32()
		lse, tlse := in[3].F32(), in[4].F32()
		dx := make([]float64, len(own.x))
		q, p := make([]float64, len(seq)), make([]float64, len(seq))
		by := float64(in[5].F32()[0]) * own.scale() / float64(max(len(seq)*a.Heads, 1))
		for i := range seq {
			for h := range a.Heads {
				own.scores(q, seq, i, h)
				teacher.scores(p, seq, i, h)
				xi := own.at(i, h)
				for j := range seq {
					if seq[j] != seq[i] {
						continue
					}
					g := by * (math.Exp(q[j]-float64(lse[i*a.Heads+h])) - math.Exp(p[j]-float64(tlse[i*a.Heads+h])))
					xj := own.at(j, h)
					for c := range own.d {
						dx[xi+c] += g * float64(own.x[xj+c])
						dx[xj+c] += g * float64(own.x[xi+c])
					}
				}
			}
		}
		for i, v := range dx {
			out[0].F32()[i] = float32(v)
		}
		return nil
	},
})

// relation indexes one side's rows, split into heads of width d.
type relation struct {
	x        []float32
	width, d int
}

func newRelation(a RelationAttrs, x graph.Tensor) relation {
	return relation{x.F32(), x.Dims[1], x.Dims[1] / a.Heads}
}

func (r relation) at(i, h int) int { return i*r.width + h*r.d }

func (r relation) scale() float64 { return 1 / math.Sqrt(float64(r.d)) }

// scores fills s with token i's scores for head h, −∞ outside of its sequence,
// and returns their log-sum-exp.
func (r relation) scores(s []float64, seq []int32, i, h int) float64 {
	most, a := math.Inf(-1), r.at(i, h)
	for j := range s {
		s[j] = math.Inf(-1)
		if seq[j] != seq[i] {
			continue
		}
		b := r.at(j, h)
		var dot float64
		for c := range r.d {
			dot += float64(r.x[a+c]) * float64(r.x[b+c])
		}
		s[j] = dot * r.scale()
		most = max(most, s[j])
	}
	var sum float64
	for _, v := range s {
		sum += math.Exp(v - most)
	}
	return most + math.Log(sum)
}
