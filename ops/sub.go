package ops

import "github.com/trit-ml/trit/graph"

// SubOp is elementwise subtraction of f32 tensors; b may also be a scalar.
var SubOp = graph.Define(graph.Def[graph.None]{
	Name: "sub", Doc: "y = a - b, elementwise; b may be a scalar", In: "a, b", Out: "y",
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer:   func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return elementwise2(in) },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		binary(in, out, func(a, b float32) float32 { return a - b })
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		dy := c.DOut[0]
		db := Scale(dy, -1)
		if isScalarOf(c.In[1], c.In[0]) {
			db = sumTo(db, c.In[1])
		}
		return []graph.Value{dy, db}, nil
	},
})

// Sub returns a - b. The shapes are equal, or b is f32[].
func Sub(a, b graph.Value) graph.Value { return SubOp.One(graph.None{}, a, b) }
