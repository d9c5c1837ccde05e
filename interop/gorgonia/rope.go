package gorgonia

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// RoPE rotates each head of x [S,H·headDim] by its row's position, in the
// half-split form; pos is a vector of S Int32 positions.
func RoPE(x, pos *G.Node, theta float64, headDim int) (*G.Node, error) {
	if headDim <= 0 || headDim%2 != 0 {
		return nil, fmt.Errorf("gorgonia: RoPE: headDim %d is not a positive even number", headDim)
	}
	rotate := func(name string, inverse bool) *kernelOp {
		attrs := ops.RoPEAttrs{Theta: theta, HeadDim: headDim, Inverse: inverse}
		return &kernelOp{
			name: fmt.Sprintf("%s{theta=%g, headDim=%d}", name, theta, headDim), arity: 2,
			typ: function(tensorType(2, anyType), tensorType(1, tensor.Int32), tensorType(2, anyType)),
			infer: func(in []tensor.Shape) (tensor.Shape, error) {
				x, pos := in[0], in[1]
				if len(x) != 2 || len(pos) != 1 || x[0] != pos[0] || x[1]%headDim != 0 {
					return nil, fmt.Errorf("x is %v and pos is %v; want [S,H*%d] and [S]", x, pos, headDim)
				}
				return x.Clone(), nil
			},
			run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
				return k.run(ops.RoPEOp.OpDef, attrs, in, []graph.Tensor{out})
			},
		}
	}
	op := rotate("RoPE", false)
	op.grads = []gradRule{{rotate("RoPE.dx", true), []source{gradient, 1}}, {}}
	op.lower = func(in []graph.Value) graph.Value { return ops.RoPE(in[0], in[1], theta, headDim) }
	return op.apply(x, pos)
}
