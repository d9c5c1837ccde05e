package bitlinear

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// RescaleOp turns integer accumulators into floats: y = acc·(γ/s), with s the
// activation scale of the row and γ the weight scale.
var RescaleOp = graph.Define(graph.Def[graph.None]{
	Name: "rescale", Doc: "y = acc * (gamma / s), per row", In: "acc, s, gamma", Out: "y",
	Rowwise: []int{0, 1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		err := ops.Check(in, ops.Want{Name: "acc", Elems: []graph.DType{graph.I32}, Rank: 2}, ops.F32("s", 2), ops.F32("gamma", 0))
		if err != nil {
			return nil, err
		}
		if want := graph.T(graph.F32, in[0].Shape[0], graph.C(1)); !in[1].Equal(want) {
			return nil, fmt.Errorf("s is %s, want %s", in[1], want)
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape...)}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		n := in[0].Dims[1]
		gamma := in[2].F32()[0]
		for i := range in[0].Dims[0] {
			f := gamma / in[1].F32()[i]
			for j := i * n; j < (i+1)*n; j++ {
				out[0].F32()[j] = float32(in[0].I32()[j]) * f
			}
		}
		return nil
	},
})

// Rescale returns acc i32[S,N] scaled to f32[S,N] by gamma f32[] and s f32[S,1].
func Rescale(acc, s, gamma graph.Value) graph.Value {
	return RescaleOp.One(graph.None{}, acc, s, gamma)
}
