package ternary

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// GroupMatMulOp is the product of int8 activations and ternary weights that have
// a scale for each group along a row: y[i,n] = (Σ_g γ[n,g]·acc_g)/s[i], where
// acc_g = Σ q[i,k]·t[n,k] over group g is exact. The groups are added in order,
// each product and each sum rounded to f32, so that results are the same bits on
// every device and for every batch.
var GroupMatMulOp = graph.Define(graph.Def[graph.None]{
	Name: "ternary.group_matmul", Doc: "y = sum over groups of gamma * (q tᵀ), divided by s", In: "q, s, t, gamma", Out: "y", Exact: true,
	Rowwise: []int{0, 1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		err := ops.Check(in, ops.Want{Name: "q", Elems: []graph.DType{graph.I8}, Rank: 2}, ops.F32("s", 2),
			ops.Want{Name: "t", Elems: []graph.DType{graph.Tern}, Rank: 2}, ops.F32("gamma", 2))
		if err != nil {
			return nil, err
		}
		if want := graph.T(graph.F32, in[0].Shape[0], graph.C(1)); !in[1].Equal(want) {
			return nil, fmt.Errorf("s is %s, want %s", in[1], want)
		}
		k, ok := in[2].Last().Const()
		groups, fixed := in[3].Last().Const()
		if !ok || !fixed || in[3].Shape[0] != in[2].Shape[0] || groups < 1 || k%groups != 0 {
			return nil, fmt.Errorf("gamma is %s, want a scale for each group of each row of t %s", in[3], in[2])
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape[0], in[2].Shape[0])},
			ops.EqualDim("a row of q", in[0].Last(), "a row of t", in[2].Last())
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		k, n, groups := in[0].Dims[1], in[2].Dims[0], in[3].Dims[1]
		q, s, t, gamma, y := in[0].I8(), in[1].F32(), in[2].I8(), in[3].F32(), out[0].F32()
		size := k / groups
		for i := range in[0].Dims[0] {
			for j := range n {
				var sum float32
				for g := range groups {
					x, w := q[i*k+g*size:][:size], t[j*k+g*size:][:size]
					var acc int32
					for l, v := range x {
						acc += int32(v) * int32(w[l])
					}
					sum += float32(float32(acc) * gamma[j*groups+g])
				}
				y[i*n+j] = sum / s[i]
			}
		}
		return nil
	},
})

// GroupMatMul returns the product of q i8[S,K] with scales s f32[S,1] and
// t tern[N,K] with scales gamma f32[N,G], as f32[S,N].
func GroupMatMul(q, s, t, gamma graph.Value) graph.Value {
	return GroupMatMulOp.One(graph.None{}, q, s, t, gamma)
}
