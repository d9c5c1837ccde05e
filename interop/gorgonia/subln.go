package gorgonia

import (
	"fmt"

	"github.com/chewxy/hm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// SubLN is the norm in front of a BitLinear: y = g ⊙ x/√(mean(x²)+eps) over the
// last axis of x, with g as many elements as that axis.
func SubLN(x, g *G.Node, eps float64) (*G.Node, error) {
	if x == nil {
		return nil, fmt.Errorf("gorgonia: SubLN: x is nil")
	}
	attrs := ops.NormAttrs{Eps: eps}
	dims := x.Dims()
	t, v := tensorType(dims, anyType), tensorType(1, anyType)
	name := fmt.Sprintf("SubLN{%d axes, eps=%g}", dims, eps)
	check := func(x, g tensor.Shape) error {
		if len(x) == 0 || len(g) != 1 || g[0] != x[len(x)-1] {
			return fmt.Errorf("x is %v and g is %v; g must have as many elements as a row of x", x, g)
		}
		return nil
	}
	// Both gradients come from one kernel, each with the other in a temporary.
	grad := func(name string, typ func() hm.Type, which int) *kernelOp {
		return &kernelOp{
			name: name, arity: 3, typ: typ,
			infer: func(in []tensor.Shape) (tensor.Shape, error) { return in[which].Clone(), check(in[0], in[1]) },
			run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
				other, free := temporary(in[1-which].Dims...)
				defer free()
				outs := []graph.Tensor{out, other}
				if which == 1 {
					outs = []graph.Tensor{other, out}
				}
				return k.run(ops.RMSNormGradOp.OpDef, attrs, in, outs)
			},
		}
	}
	op := &kernelOp{
		name: name, arity: 2, typ: function(t, v, t),
		infer: func(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), check(in[0], in[1]) },
		run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
			return k.run(ops.RMSNormOp.OpDef, attrs, in, []graph.Tensor{out})
		},
		grads: []gradRule{
			{grad(name+".dx", function(t, v, t, t), 0), []source{0, 1, gradient}},
			{grad(name+".dg", function(t, v, t, v), 1), []source{0, 1, gradient}},
		},
		lower: func(in []graph.Value) graph.Value { return ops.RMSNorm(in[0], in[1], eps) },
	}
	return op.apply(x, g)
}
