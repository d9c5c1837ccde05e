package ternary

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// MatMulOp is the exact product of int8 activations and ternary weights:
// y[i,n] = Σ_k q[i,k]·t[n,k] in int32. |y| ≤ 128·K, so K must be below 2^24.
var MatMulOp = graph.Define(graph.Def[graph.None]{
	Name: "ternary.matmul", Doc: "y = q tᵀ in int32", In: "q, t", Out: "y", Exact: true,
	Rowwise: []int{0},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		err := ops.Check(in, ops.Want{Name: "q", Elems: []graph.DType{graph.I8}, Rank: 2},
			ops.Want{Name: "t", Elems: []graph.DType{graph.Tern}, Rank: 2})
		if err != nil {
			return nil, err
		}
		return []graph.Type{graph.T(graph.I32, in[0].Shape[0], in[1].Shape[0])},
			ops.EqualDim("a row of q", in[0].Last(), "a row of t", in[1].Last())
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		k, n := in[0].Dims[1], in[1].Dims[0]
		q, t, y := in[0].I8(), in[1].I8(), out[0].I32()
		for i := range in[0].Dims[0] {
			row := q[i*k : (i+1)*k]
			for j := range n {
				w := t[j*k : (j+1)*k]
				var s int32
				for l, v := range row {
					s += int32(v) * int32(w[l])
				}
				y[i*n+j] = s
			}
		}
		return nil
	},
})

// MatMul returns q·tᵀ for q i8[S,K] and t tern[N,K], as i32[S,N].
func MatMul(q, t graph.Value) graph.Value { return MatMulOp.One(graph.None{}, q, t) }
