package ops

import "github.com/trit-ml/trit/graph"

// DivOp is elementwise division of f32 tensors; b may also be a scalar.
var DivOp = graph.Define(graph.Def[graph.None]{
	Name: "div", Doc: "y = a / b, elementwise; b may be a scalar", In: "a, b", Out: "y",
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer:   func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return elementwise2(in) },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		binary(in, out, func(a, b float32) float32 { return a / b })
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		b, y := c.In[1], c.Out[0]
		da := c.Self(graph.None{}, c.DOut[0], b)
		db := Scale(Mul(da, y), -1) // -dy·a/b²
		if isScalarOf(b, c.In[0]) {
			db = sumTo(db, b)
		}
		return []graph.Value{da, db}, nil
	},
})

// Div returns a / b. The shapes are equal, or b is f32[].
func Div(a, b graph.Value) graph.Value { return DivOp.One(graph.None{}, a, b) }
