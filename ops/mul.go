package ops

import "github.com/trit-ml/trit/graph"

// MulOp is elementwise multiplication of f32 tensors; b may also be a scalar.
var MulOp = graph.Define(graph.Def[graph.None]{
	Name: "mul", Doc: "y = a * b, elementwise; b may be a scalar", In: "a, b", Out: "y", Commutes: true,
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer:   func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return elementwise2(in) },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		binary(in, out, func(a, b float32) float32 { return a * b })
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		dy, a, b := c.DOut[0], c.In[0], c.In[1]
		da, db := c.Self(graph.None{}, dy, b), c.Self(graph.None{}, dy, a)
		if isScalarOf(b, a) {
			db = sumTo(db, b)
		}
		return []graph.Value{da, db}, nil
	},
})

// Mul returns a * b. The shapes are equal, or b is f32[].
func Mul(a, b graph.Value) graph.Value { return MulOp.One(graph.None{}, a, b) }
