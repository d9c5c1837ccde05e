package gorgonia

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// ReLU2 is the squared rectifier of BitNet b1.58, max(x, 0)².
func ReLU2(x *G.Node) (*G.Node, error) { return relu2Op.apply(x) }

var relu2Op = &kernelOp{
	name: "ReLU2", arity: 1, typ: function(anyType, anyType),
	infer: func(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), nil },
	run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
		return k.run(ops.ReLU2Op.OpDef, graph.None{}, in, []graph.Tensor{out})
	},
	grads: []gradRule{{relu2DX, []source{0, gradient}}},
	lower: func(in []graph.Value) graph.Value { return ops.ReLU2(in[0]) },
}

var relu2DX = &kernelOp{
	name: "ReLU2.dx", arity: 2, typ: function(anyType, anyType, anyType),
	infer: func(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), nil },
	run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
		return k.run(ops.ReLU2GradOp.OpDef, graph.None{}, in, []graph.Tensor{out})
	},
}
