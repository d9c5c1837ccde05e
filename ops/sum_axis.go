package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// AxisSumAttrs names the axis that is summed, and whether the sum is divided by
// its extent.
type AxisSumAttrs struct {
	Axis int
	Mean bool
}

// SumAxisOp adds along one axis, which the result lacks.
var SumAxisOp = graph.Define(graph.Def[AxisSumAttrs]{
	Name: "sum.axis", Doc: "the sum, or mean, along one axis", In: "x", Out: "y",
	BF16: "x -> y",
	Infer: func(a AxisSumAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", -1)); err != nil {
			return nil, err
		}
		if err := checkAxis(in[0], a.Axis); err != nil {
			return nil, err
		}
		return one(graph.T(graph.F32, without(in[0].Shape, a.Axis)...)), nil
	},
	Ref: func(a AxisSumAttrs, in, out []graph.Tensor) error {
		outer, n, inner := around(in[0].Dims, a.Axis)
		x, y := in[0].F32(), out[0].F32()
		by := 1.0
		if a.Mean {
			by = 1 / float64(n)
		}
		sums := make([]float64, inner)
		for o := range outer {
			clear(sums)
			for i := range n {
				for j, v := range x[(o*n+i)*inner : (o*n+i+1)*inner] {
					sums[j] += float64(v)
				}
			}
			for j, s := range sums {
				y[o*inner+j] = float32(s * by)
			}
		}
		return nil
	},
	Grad: func(a AxisSumAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		shape := c.In[0].Type().Shape.String()
		return BroadcastOp.Emit(BroadcastAttrs{Shape: shape, Mean: a.Mean}, keepAxis(c.DOut[0], a.Axis)), nil
	},
})

// SumAxis returns the sum of x along an axis, without that axis.
func SumAxis(x graph.Value, axis int) graph.Value {
	return SumAxisOp.One(AxisSumAttrs{Axis: axis}, x)
}

// MeanAxis returns the mean of x along an axis, without that axis.
func MeanAxis(x graph.Value, axis int) graph.Value {
	graph.Helper(x)
	return SumAxisOp.One(AxisSumAttrs{Axis: axis, Mean: true}, x)
}

func checkAxis(t graph.Type, axis int) error {
	if axis < 0 || axis >= t.Rank() {
		return fmt.Errorf("axis %d is outside the %d axes of %s", axis, t.Rank(), t)
	}
	return nil
}

// around splits extents at an axis: what lies before it, its own, and after it.
func around(dims []int, axis int) (outer, n, inner int) {
	outer, inner = 1, 1
	for _, d := range dims[:axis] {
		outer *= d
	}
	for _, d := range dims[axis+1:] {
		inner *= d
	}
	return outer, dims[axis], inner
}

// without is the shape that lacks an axis.
func without(s graph.Shape, axis int) graph.Shape {
	out := append(graph.Shape{}, s[:axis]...)
	return append(out, s[axis+1:]...)
}

// keepAxis gives y an axis of extent 1 back.
func keepAxis(y graph.Value, axis int) graph.Value {
	s := y.Type().Shape
	out := append(graph.Shape{}, s[:axis]...)
	return Reshape(y, append(append(out, graph.C(1)), s[axis:]...)...)
}
