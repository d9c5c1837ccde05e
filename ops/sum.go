package ops

import "github.com/trit-ml/trit/graph"

// SumOp adds all elements. Its gradient broadcasts.
var SumOp = graph.Define(graph.Def[graph.None]{
	Name: "sum", Doc: "the sum of all elements", In: "x", Out: "y",
	BF16: "x ->",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return one(scalarF32), Check(in, F32("x", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		var s float64
		for _, v := range in[0].F32() {
			s += float64(v)
		}
		out[0].F32()[0] = float32(s)
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{Fill(c.DOut[0], c.In[0])}, nil
	},
})

// Sum returns the sum of all elements of x, f32[].
func Sum(x graph.Value) graph.Value { return SumOp.One(graph.None{}, x) }

// FillOp repeats a scalar over another tensor's shape.
var FillOp = graph.Define(graph.Def[graph.None]{
	Name: "fill", Doc: "the scalar v in the shape of like", In: "v, like", Out: "y",
	BF16: "like -> y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return one(in[1]), Check(in, F32("v", 0), F32("like", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		v, y := in[0].F32()[0], out[0].F32()
		for i := range y {
			y[i] = v
		}
		return nil
	},
})

// Fill returns the scalar v in the shape of like.
func Fill(v, like graph.Value) graph.Value { return FillOp.One(graph.None{}, v, like) }
