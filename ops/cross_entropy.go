package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// IgnoreAttrs names the target that does not count towards the loss.
type IgnoreAttrs struct{ Ignore int }

// IgnoreTarget is the conventional target of positions without a label.
const IgnoreTarget = -100

// CrossEntropyOp is the mean over counted positions of −log softmax(logits)
// at the target, in nats. The second result is the log-sum-exp of each row.
// Without a counted position the loss is 0.
var CrossEntropyOp = graph.Define(graph.Def[IgnoreAttrs]{
	Name: "cross_entropy", Doc: "mean negative log-likelihood of the targets", In: "logits, targets", Out: "loss, lse",
	BF16: "logits ->",
	Infer: func(_ IgnoreAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("logits", 2), I32("targets", 1)); err != nil {
			return nil, err
		}
		rows := in[0].Shape[0]
		return []graph.Type{scalarF32, graph.T(graph.F32, rows)}, EqualDim("logits", rows, "targets", in[1].Shape[0])
	},
	Ref: func(a IgnoreAttrs, in, out []graph.Tensor) error {
		v := in[0].Dims[1]
		var sum float64
		count := 0
		for i, t := range in[1].I32() {
			row := in[0].F32()[i*v : (i+1)*v]
			l := logSumExp(row)
			out[1].F32()[i] = float32(l)
			if int(t) == a.Ignore {
				continue
			}
			if int(t) < 0 || int(t) >= v {
				return fmt.Errorf("target %d at %d is outside the vocabulary of %d", t, i, v)
			}
			sum += l - float64(row[t])
			count++
		}
		out[0].F32()[0] = float32(sum / float64(max(count, 1)))
		return nil
	},
	Grad: func(a IgnoreAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		if c.DOut[1].Valid() {
			return nil, fmt.Errorf("the log-sum-exp result is not differentiable")
		}
		return CrossEntropyGradOp.Emit(a, c.In[0], c.In[1], c.Out[1], c.DOut[0]), nil
	},
})

// CrossEntropy returns the scalar loss of logits f32[S,V] against targets
// i32[S]; targets equal to IgnoreTarget do not count.
func CrossEntropy(logits, targets graph.Value) graph.Value {
	return CrossEntropyOp.Emit(IgnoreAttrs{IgnoreTarget}, logits, targets)[0]
}

// CrossEntropyGradOp is dlogits = (softmax(logits) − onehot(target))·dloss/n,
// with n the counted positions and rows of ignored targets zero.
var CrossEntropyGradOp = graph.Define(graph.Def[IgnoreAttrs]{
	Name: "cross_entropy.grad", Doc: "gradient of cross_entropy", In: "logits, targets, lse, dloss", Out: "dlogits",
	BF16: "logits -> dlogits",
	Infer: func(_ IgnoreAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("logits", 2), I32("targets", 1), F32("lse", 1), F32("dloss", 0)); err != nil {
			return nil, err
		}
		if err := EqualDim("logits", in[0].Shape[0], "targets", in[1].Shape[0]); err != nil {
			return nil, err
		}
		return one(in[0]), EqualDim("logits", in[0].Shape[0], "lse", in[2].Shape[0])
	},
	Ref: func(a IgnoreAttrs, in, out []graph.Tensor) error {
		v := in[0].Dims[1]
		x, d := in[0].F32(), out[0].F32()
		count := 0
		for _, t := range in[1].I32() {
			if int(t) != a.Ignore {
				count++
			}
		}
		g := float64(in[3].F32()[0]) / float64(max(count, 1))
		for i, t := range in[1].I32() {
			row := d[i*v : (i+1)*v]
			if int(t) == a.Ignore {
				clear(row)
				continue
			}
			if int(t) < 0 || int(t) >= v {
				return fmt.Errorf("target %d at %d is outside the vocabulary of %d", t, i, v)
			}
			for j := range row {
				p := math.Exp(float64(x[i*v+j]) - float64(in[2].F32()[i]))
				if j == int(t) {
					p--
				}
				row[j] = float32(p * g)
			}
		}
		return nil
	},
})
