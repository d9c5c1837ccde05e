package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// AddOp is elementwise addition of f32 tensors; b may also be a scalar.
var AddOp = graph.Define(graph.Def[graph.None]{
	Name: "add", Doc: "y = a + b, elementwise; b may be a scalar", In: "a, b", Out: "y", Commutes: true,
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer:   func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return elementwise2(in) },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		binary(in, out, func(a, b float32) float32 { return a + b })
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		dy := c.DOut[0]
		if isScalarOf(c.In[1], c.In[0]) {
			return []graph.Value{dy, sumTo(dy, c.In[1])}, nil
		}
		return []graph.Value{dy, dy}, nil
	},
})

// Add returns a + b. The shapes are equal, or b is f32[].
func Add(a, b graph.Value) graph.Value { return AddOp.One(graph.None{}, a, b) }

// elementwise2 is the type rule of binary elementwise ops.
func elementwise2(in []graph.Type) ([]graph.Type, error) {
	if err := Check(in, F32("a", -1), F32("b", -1)); err != nil {
		return nil, err
	}
	if in[1].Rank() != 0 {
		if err := Same("a", in[0], "b", in[1]); err != nil {
			return nil, fmt.Errorf("%w, or b a scalar", err)
		}
	}
	return one(in[0]), nil
}

// sumTo is the gradient of scalar operand b, added up from its uses d.
func sumTo(d, b graph.Value) graph.Value {
	d = Sum(d)
	if elem := b.Type().Elem; elem != graph.F32 {
		d = Cast(d, elem)
	}
	return d
}

func isScalarOf(b, a graph.Value) bool { return b.Type().Rank() == 0 && a.Type().Rank() != 0 }

func binary(in, out []graph.Tensor, f func(a, b float32) float32) {
	a, b, y := in[0].F32(), in[1].F32(), out[0].F32()
	if len(b) == 1 {
		for i := range y {
			y[i] = f(a[i], b[0])
		}
		return
	}
	for i := range y {
		y[i] = f(a[i], b[i])
	}
}
