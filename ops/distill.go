package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// DistillAttrs holds the temperature that both sides' logits are divided by,
// and the target of positions that do not count.
type DistillAttrs struct {
	Temperature float64
	Ignore      int
}

func (a DistillAttrs) check(in []graph.Type) error {
	if err := Check(in, F32("logits", 2), F32("teacher", 2), I32("targets", 1)); err != nil {
		return err
	}
	if !(a.Temperature > 0) {
		return fmt.Errorf("temperature is %v, want above 0", a.Temperature)
	}
	if err := Same("logits", in[0], "teacher", in[1]); err != nil {
		return err
	}
	return EqualDim("logits", in[0].Shape[0], "targets", in[2].Shape[0])
}

// DistillOp is the mean over counted positions of KL(p‖q), in nats, with p the
// softmax of teacher/T and q that of logits/T (Hinton et al. 2015, without the
// factor T², as in Wu et al. 2025, "BitNet Distillation"). A position counts if
// its target is not Ignore; the target's value does not matter. The teacher is
// a constant: it gets no gradient. The other results are both sides'
// log-sum-exps, which the gradient needs.
var DistillOp = graph.Define(graph.Def[DistillAttrs]{
	Name: "distill", Doc: "mean KL divergence from a teacher's predictions", In: "logits, teacher, targets", Out: "loss, lse, teacher_lse",
	BF16: "logits, teacher ->",
	Infer: func(a DistillAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in); err != nil {
			return nil, err
		}
		lse := graph.T(graph.F32, in[0].Shape[0])
		return []graph.Type{scalarF32, lse, lse}, nil
	},
	Ref: func(a DistillAttrs, in, out []graph.Tensor) error {
		v := in[0].Dims[1]
		x, t, by := in[0].F32(), in[1].F32(), 1/a.Temperature
		var sum float64
		count := 0
		for i, target := range in[2].I32() {
			row, want := x[i*v:(i+1)*v], t[i*v:(i+1)*v]
			lq, lp := scaledLogSumExp(row, by), scaledLogSumExp(want, by)
			out[1].F32()[i], out[2].F32()[i] = float32(lq), float32(lp)
			if int(target) == a.Ignore {
				continue
			}
			count++
			for j := range row {
				logp := float64(want[j])*by - lp
				if p := math.Exp(logp); p > 0 {
					sum += p * (logp - (float64(row[j])*by - lq))
				}
			}
		}
		out[0].F32()[0] = float32(sum / float64(max(count, 1)))
		return nil
	},
	Grad: func(a DistillAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		if c.DOut[1].Valid() || c.DOut[2].Valid() {
			return nil, fmt.Errorf("the log-sum-exp results are not differentiable")
		}
		return []graph.Value{DistillGradOp.One(a, c.In[0], c.In[1], c.In[2], c.Out[1], c.Out[2], c.DOut[0])}, nil
	},
})

// Distill returns the scalar divergence of logits f32[S,V] from a teacher's
// logits f32[S,V]; targets i32[S] equal to IgnoreTarget do not count.
func Distill(logits, teacher, targets graph.Value, temperature float64) graph.Value {
	return DistillOp.Emit(DistillAttrs{Temperature: temperature, Ignore: IgnoreTarget}, logits, teacher, targets)[0]
}

// DistillGradOp is dlogits = (q − p)·dloss/(T·n), with n the counted positions
// and the rows of others zero.
var DistillGradOp = graph.Define(graph.Def[DistillAttrs]{
	Name: "distill.grad", Doc: "gradient of distill", In: "logits, teacher, targets, lse, teacher_lse, dloss", Out: "dlogits",
	BF16: "logits, teacher -> dlogits",
	Infer: func(a DistillAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in[:3]); err != nil {
			return nil, err
		}
		if err := Check(in[3:], F32("lse", 1), F32("teacher_lse", 1), F32("dloss", 0)); err != nil {
			return nil, err
		}
		if err := EqualDim("logits", in[0].Shape[0], "lse", in[3].Shape[0]); err != nil {
			return nil, err
		}
		return one(in[0]), EqualDim("logits", in[0].Shape[0], "teacher_lse", in[4].Shape[0])
	},
	Ref: func(a DistillAttrs, in, out []graph.Tensor) error {
		v := in[0].Dims[1]
		x, t, d, by := in[0].F32(), in[1].F32(), out[0].F32(), 1/a.Temperature
		count := 0
		for _, target := range in[2].I32() {
			if int(target) != a.Ignore {
				count++
			}
		}
		g := float64(in[5].F32()[0]) * by / float64(max(count, 1))
		for i, target := range in[2].I32() {
			row := d[i*v : (i+1)*v]
			if int(target) == a.Ignore {
				clear(row)
				continue
			}
			lq, lp := float64(in[3].F32()[i]), float64(in[4].F32()[i])
			for j := range row {
				q := math.Exp(float64(x[i*v+j])*by - lq)
				p := math.Exp(float64(t[i*v+j])*by - lp)
				row[j] = float32((q - p) * g)
			}
		}
		return nil
	},
})

// scaledLogSumExp is log Σ exp(x·by), stable.
func scaledLogSumExp(x []float32, by float64) float64 {
	most := math.Inf(-1)
	for _, v := range x {
		most = max(most, float64(v)*by)
	}
	if math.IsInf(most, 0) {
		return most
	}
	var s float64
	for _, v := range x {
		s += math.Exp(float64(v)*by - most)
	}
	return most + math.Log(s)
}
