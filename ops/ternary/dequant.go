package ternary

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// DequantOp is what QuantizeOp's codes stand for: y = t·γ, the same bits as
// FakeOp gives.
var DequantOp = graph.Define(graph.Def[graph.None]{
	Name: "ternary.dequant", Doc: "y = t * gamma", In: "t, gamma", Out: "y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		err := ops.Check(in, ops.Want{Name: "t", Elems: []graph.DType{graph.Tern}, Rank: 2}, ops.F32("gamma", 0))
		if err != nil {
			return nil, err
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape...)}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		gamma := in[1].F32()[0]
		for i, t := range in[0].I8() {
			out[0].F32()[i] = float32(t) * gamma
		}
		return nil
	},
})

// Dequant returns codes tern[N,K] times their scale f32[].
func Dequant(t, gamma graph.Value) graph.Value { return DequantOp.One(graph.None{}, t, gamma) }
