package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// DequantOp is what QuantActOp's codes stand for: y = q/s, the same bits as
// FakeQuantOp gives. A training step that multiplies codes keeps them, a byte
// each, and makes the floats again where the backward pass reads them.
var DequantOp = graph.Define(graph.Def[graph.None]{
	Name: "quant.dequant", Doc: "y = q / s, per row", In: "q, s", Out: "y",
	Rowwise: []int{0, 1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, Want{Name: "q", Elems: []graph.DType{graph.I8}, Rank: 2}, F32("s", 2)); err != nil {
			return nil, err
		}
		if want := graph.T(graph.F32, in[0].Shape[0], graph.C(1)); !in[1].Equal(want) {
			return nil, fmt.Errorf("s is %s, want %s", in[1], want)
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape...)}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		d := in[0].Dims[1]
		for i := range in[0].Dims[0] {
			for j := i * d; j < (i+1)*d; j++ {
				out[0].F32()[j] = float32(in[0].I8()[j]) / in[1].F32()[i]
			}
		}
		return nil
	},
})

// Dequant returns codes i8[S,K] divided by their scales f32[S,1].
func Dequant(q, s graph.Value) graph.Value { return DequantOp.One(graph.None{}, q, s) }
