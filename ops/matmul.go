package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// MatMulAttrs says which operands are read transposed.
type MatMulAttrs struct{ TA, TB bool }

// MatMulOp is the matrix product, f32 or bf16. Beside f32 activations b may be
// bf16 or f16 (weights); it is widened, not the activations narrowed.
var MatMulOp = graph.Define(graph.Def[MatMulAttrs]{
	Name: "matmul", Doc: "y = op(a) op(b), op transposes where ta, tb say so", In: "a, b", Out: "y",
	BF16:    "a, b -> y",
	Rowwise: []int{0},
	Infer: func(at MatMulAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("a", 2), Float("b", 2)); err != nil {
			return nil, err
		}
		m, ka := in[0].Shape[0], in[0].Shape[1]
		if at.TA {
			m, ka = ka, m
		}
		kb, n := in[1].Shape[0], in[1].Shape[1]
		if at.TB {
			kb, n = n, kb
		}
		if ka != kb {
			return nil, fmt.Errorf("inner dimensions differ: a%s gives %s, b%s gives %s", transposed(at.TA), ka, transposed(at.TB), kb)
		}
		return one(graph.T(graph.F32, m, n)), nil
	},
	Ref: func(at MatMulAttrs, in, out []graph.Tensor) error {
		bt, err := in[1].ToF32()
		if err != nil {
			return err
		}
		a, b, y := in[0].F32(), bt.F32(), out[0].F32()
		m, n := out[0].Dims[0], out[0].Dims[1]
		k := in[0].Dims[1]
		ai, ak := k, 1
		if at.TA {
			k = in[0].Dims[0]
			ai, ak = 1, m
		}
		bk, bj := n, 1
		if at.TB {
			bk, bj = 1, k
		}
		for i := range m {
			for j := range n {
				var s float64
				for l := range k {
					s += float64(a[i*ai+l*ak]) * float64(b[l*bk+j*bj])
				}
				y[i*n+j] = float32(s)
			}
		}
		return nil
	},
	Grad: func(at MatMulAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		a, b, dy := c.In[0], c.In[1], c.DOut[0]
		elem := b.Type().Elem
		if a.Type().Elem == graph.BF16 {
			elem = graph.F32 // all are bf16: nothing to convert
		}
		if elem != graph.F32 && at.TA {
			b = Cast(b, graph.F32) // it becomes a left operand below
		}
		mm := func(x, y graph.Value, tx, ty bool) graph.Value { return c.Self(MatMulAttrs{tx, ty}, x, y) }
		var da, db graph.Value
		if at.TA {
			da = mm(b, dy, at.TB, true)
		} else {
			da = mm(dy, b, false, !at.TB)
		}
		if at.TB {
			db = mm(dy, a, true, at.TA)
		} else {
			db = mm(a, dy, !at.TA, false)
		}
		if elem != graph.F32 {
			db = Cast(db, elem)
		}
		return []graph.Value{da, db}, nil
	},
})

func transposed(t bool) string {
	if t {
		return " transposed"
	}
	return ""
}

// MatMul returns op(a)·op(b), where ta and tb say which operand is transposed.
func MatMul(a, b graph.Value, ta, tb bool) graph.Value {
	return MatMulOp.One(MatMulAttrs{ta, tb}, a, b)
}

// Linear returns x·wᵀ for activations x f32[S,K] and weights w [N,K].
func Linear(x, w graph.Value) graph.Value {
	graph.Helper(x)
	return MatMul(x, w, false, true)
}
