package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// BatchMatMulOp multiplies matrices pair by pair: the last two axes are the
// matrices, the axes before them are equal.
var BatchMatMulOp = graph.Define(graph.Def[MatMulAttrs]{
	Name: "matmul.batch", Doc: "y[i] = op(a[i]) op(b[i]) over the leading axes", In: "a, b", Out: "y",
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer: func(at MatMulAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("a", -1), F32("b", in[0].Rank())); err != nil {
			return nil, err
		}
		r := in[0].Rank()
		if r < 3 {
			return nil, fmt.Errorf("a is %s, want at least 3 axes", in[0])
		}
		a, b := in[0].Shape, in[1].Shape
		if !a[:r-2].Equal(b[:r-2]) {
			return nil, fmt.Errorf("a is %s but b is %s; the axes before the last two must be equal", in[0], in[1])
		}
		m, ka, kb, n := a[r-2], a[r-1], b[r-2], b[r-1]
		if at.TA {
			m, ka = ka, m
		}
		if at.TB {
			kb, n = n, kb
		}
		if ka != kb {
			return nil, fmt.Errorf("inner dimensions differ: a%s gives %s, b%s gives %s", transposed(at.TA), ka, transposed(at.TB), kb)
		}
		y := append(graph.Shape{}, a[:r-2]...)
		return one(graph.T(graph.F32, append(y, m, n)...)), nil
	},
	Ref: func(at MatMulAttrs, in, out []graph.Tensor) error {
		part := func(t graph.Tensor, i int) graph.Tensor {
			d := t.Dims[len(t.Dims)-2:]
			size := d[0] * d[1] * 4
			return graph.Tensor{Elem: t.Elem, Dims: d, Data: t.Data[i*size : (i+1)*size]}
		}
		batches := 1
		for _, d := range out[0].Dims[:len(out[0].Dims)-2] {
			batches *= d
		}
		for i := range batches {
			if err := MatMulOp.Run(at, []graph.Tensor{part(in[0], i), part(in[1], i)}, []graph.Tensor{part(out[0], i)}); err != nil {
				return err
			}
		}
		return nil
	},
	Grad: func(at MatMulAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		a, b, dy := c.In[0], c.In[1], c.DOut[0]
		mm := func(x, y graph.Value, tx, ty bool) graph.Value { return c.Self(MatMulAttrs{tx, ty}, x, y) }
		da, db := mm(dy, b, false, !at.TB), mm(a, dy, !at.TA, false)
		if at.TA {
			da = mm(b, dy, at.TB, true)
		}
		if at.TB {
			db = mm(dy, a, true, at.TA)
		}
		return []graph.Value{da, db}, nil
	},
})

// BatchMatMul returns op(a)·op(b) for each pair of matrices of a [...,M,K] and b
// [...,K,N], where ta and tb say which operand is transposed.
func BatchMatMul(a, b graph.Value, ta, tb bool) graph.Value {
	return BatchMatMulOp.One(MatMulAttrs{ta, tb}, a, b)
}
