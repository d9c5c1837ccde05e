package ops

import "github.com/trit-ml/trit/graph"

// ScaleAttrs holds the constant factor.
type ScaleAttrs struct{ By float64 }

// ScaleOp multiplies by a constant, rounded to f32.
var ScaleOp = graph.Define(graph.Def[ScaleAttrs]{
	Name: "scale", Doc: "y = x * by", In: "x", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{0},
	Infer: func(_ ScaleAttrs, in []graph.Type) ([]graph.Type, error) {
		return one(in[0]), Check(in, F32("x", -1))
	},
	Ref: func(a ScaleAttrs, in, out []graph.Tensor) error {
		x, y, by := in[0].F32(), out[0].F32(), float32(a.By)
		for i := range y {
			y[i] = x[i] * by
		}
		return nil
	},
	Grad: func(a ScaleAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{c.Self(a, c.DOut[0])}, nil
	},
})

// Scale returns x * by.
func Scale(x graph.Value, by float64) graph.Value { return ScaleOp.One(ScaleAttrs{by}, x) }
