package gorgonia

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// BitLinear is the linear layer of BitNet b1.58 in the place of G.Mul(x, w): x
// is [S,K] and w is [K,N], as Gorgonia's layers have them, and the result is
// [S,N]. Each row of x is quantized to 8 bits and w to {-1,0,+1} with one scale.
// The gradients pass straight through both quantizers.
func BitLinear(x, w *G.Node) (*G.Node, error) { return bitLinearOp.apply(x, w) }

var bitLinearOp = &kernelOp{
	name: "BitLinear", arity: 2,
	typ: matrices,
	infer: func(in []tensor.Shape) (tensor.Shape, error) {
		return matMulShape("x", in[0], false, "w", in[1], false)
	},
	run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
		xq, free := temporary(in[0].Dims...)
		defer free()
		wq, free := temporary(in[1].Dims...)
		defer free()
		if err := fakeInput(k, xq, in[0]); err != nil {
			return err
		}
		if err := fakeWeight(k, wq, in[1]); err != nil {
			return err
		}
		return matMul(k, out, xq, wq, false, false)
	},
	grads: []gradRule{{bitLinearDX, []source{gradient, 1}}, {bitLinearDW, []source{0, gradient}}},
	lower: func(in []graph.Value) graph.Value { return bitlinear.Linear(in[0], ops.Transpose(in[1])) },
}

// bitLinearDX is dy·ternary(w)ᵀ.
var bitLinearDX = &kernelOp{
	name: "BitLinear.dx", arity: 2, typ: matrices,
	infer: func(in []tensor.Shape) (tensor.Shape, error) {
		return matMulShape("dy", in[0], false, "w", in[1], true)
	},
	run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
		wq, free := temporary(in[1].Dims...)
		defer free()
		if err := fakeWeight(k, wq, in[1]); err != nil {
			return err
		}
		return matMul(k, out, in[0], wq, false, true)
	},
}

// bitLinearDW is quant(x)ᵀ·dy.
var bitLinearDW = &kernelOp{
	name: "BitLinear.dw", arity: 2, typ: matrices,
	infer: func(in []tensor.Shape) (tensor.Shape, error) {
		return matMulShape("x", in[0], true, "dy", in[1], false)
	},
	run: func(k *kernels, out graph.Tensor, in []graph.Tensor) error {
		xq, free := temporary(in[0].Dims...)
		defer free()
		if err := fakeInput(k, xq, in[0]); err != nil {
			return err
		}
		return matMul(k, out, xq, in[1], true, false)
	},
}

var matrices = function(tensorType(2, anyType), tensorType(2, anyType), tensorType(2, anyType))

func fakeInput(k *kernels, out, x graph.Tensor) error {
	return k.run(ops.FakeQuantOp.OpDef, ops.Int8, []graph.Tensor{x}, []graph.Tensor{out})
}

func fakeWeight(k *kernels, out, w graph.Tensor) error {
	return k.run(ternary.FakeOp.OpDef, ternary.AbsMean, []graph.Tensor{w}, []graph.Tensor{out})
}

func matMul(k *kernels, out, a, b graph.Tensor, ta, tb bool) error {
	return k.run(ops.MatMulOp.OpDef, ops.MatMulAttrs{TA: ta, TB: tb}, []graph.Tensor{a, b}, []graph.Tensor{out})
}

// matMulShape is the shape of op(a)·op(b).
func matMulShape(aName string, a tensor.Shape, ta bool, bName string, b tensor.Shape, tb bool) (tensor.Shape, error) {
	if len(a) != 2 || len(b) != 2 {
		return nil, fmt.Errorf("%s is %v and %s is %v, want matrices", aName, a, bName, b)
	}
	m, ka, kb, n := a[0], a[1], b[0], b[1]
	if ta {
		m, ka = ka, m
	}
	if tb {
		kb, n = n, kb
	}
	if ka != kb {
		return nil, fmt.Errorf("%s is %v and %s is %v: the inner extents %d and %d differ", aName, a, bName, b, ka, kb)
	}
	return tensor.Shape{m, n}, nil
}
