package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// BlendOp is quantization that sets in gradually: y = x + λ·(q − x), with q the
// quantized x; exactly x for λ ≤ 0 and exactly q for λ ≥ 1. Its gradient is the
// identity in x for every λ (straight-through estimator); q and λ get none
// (Mekkouri et al. 2024, "Fine-tuning LLMs to 1.58bit").
var BlendOp = graph.Define(graph.Def[graph.None]{
	Name: "quant.blend", Doc: "x + lambda * (q - x), straight through to x", In: "x, q, lambda", Out: "y",
	BF16:    "x, q -> y",
	Phases:  graph.Declared | graph.Training,
	Rowwise: []int{0, 1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", -1), F32("q", -1), F32("lambda", 0)); err != nil {
			return nil, err
		}
		if !in[0].Equal(in[1]) {
			return nil, fmt.Errorf("x is %s but q is %s", in[0], in[1])
		}
		return one(in[0]), nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		BlendF32(out[0].F32(), in[0].F32(), in[1].F32(), in[2].F32()[0])
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{c.DOut[0], {}, {}}, nil
	},
})

// BlendF32 is BlendOp on slices of one length.
func BlendF32(y, x, q []float32, lambda float32) {
	switch x, q = x[:len(y)], q[:len(y)]; {
	case lambda >= 1:
		copy(y, q)
	case lambda <= 0:
		copy(y, x)
	default:
		for i, v := range x {
			y[i] = v + float32(lambda*(q[i]-v))
		}
	}
}

// Blend returns x + lambda·(q − x) with straight-through gradient.
func Blend(x, q, lambda graph.Value) graph.Value { return BlendOp.One(graph.None{}, x, q, lambda) }
