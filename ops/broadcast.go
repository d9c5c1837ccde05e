package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// BroadcastAttrs holds the larger shape in the textual form, such as "[S,8]",
// and whether values are divided by the number of repeats: the gradient of a
// mean.
type BroadcastAttrs struct {
	Shape string
	Mean  bool
}

// BroadcastOp repeats x along the axes where its extent is 1 and the new shape's
// is not.
var BroadcastOp = graph.Define(graph.Def[BroadcastAttrs]{
	Name: "broadcast", Doc: "x repeated along axes of extent 1", In: "x", Out: "y",
	BF16: "x -> y",
	Infer: func(a BroadcastAttrs, in []graph.Type) ([]graph.Type, error) {
		return a.infer(in, func(x, y graph.Type) bool { return broadcasts(x.Shape, y.Shape) })
	},
	Ref: func(a BroadcastAttrs, in, out []graph.Tensor) error {
		x, y := in[0].F32(), out[0].F32()
		if len(y) == 0 {
			return nil
		}
		repeat(y, x, out[0].Dims, in[0].Dims)
		if a.Mean {
			by := float64(len(x)) / float64(len(y))
			for i, v := range y {
				y[i] = float32(float64(v) * by)
			}
		}
		return nil
	},
	Grad: func(a BroadcastAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		a.Shape = c.In[0].Type().Shape.String()
		return BroadcastGradOp.Emit(a, c.DOut[0]), nil
	},
})

// Broadcast returns x repeated along its axes of extent 1 to the given shape.
func Broadcast(x graph.Value, shape ...graph.Dim) graph.Value {
	return BroadcastOp.One(BroadcastAttrs{Shape: graph.Shape(shape).String()}, x)
}

// BroadcastGradOp adds what a broadcast repeated; the shape is the smaller one.
var BroadcastGradOp = graph.Define(graph.Def[BroadcastAttrs]{
	Name: "broadcast.grad", Doc: "dy summed along the axes where the shape has extent 1", In: "dy", Out: "dx",
	BF16: "dy -> dx",
	Infer: func(a BroadcastAttrs, in []graph.Type) ([]graph.Type, error) {
		return a.infer(in, func(dy, dx graph.Type) bool { return broadcasts(dx.Shape, dy.Shape) })
	},
	Ref: func(a BroadcastAttrs, in, out []graph.Tensor) error {
		dy, dx := in[0].F32(), out[0].F32()
		sums := make([]float64, len(dx))
		by := 1.0
		if len(dy) > 0 {
			gather(sums, dy, out[0].Dims, in[0].Dims)
			if a.Mean {
				by = float64(len(dx)) / float64(len(dy))
			}
		}
		for i, v := range sums {
			dx[i] = float32(v * by)
		}
		return nil
	},
})

func (a BroadcastAttrs) infer(in []graph.Type, ok func(x, y graph.Type) bool) ([]graph.Type, error) {
	if err := Check(in, F32("the operand", -1)); err != nil {
		return nil, err
	}
	y, err := graph.ParseType("f32" + a.Shape)
	if err != nil {
		return nil, fmt.Errorf("bad shape %q: %w", a.Shape, err)
	}
	if !ok(in[0], y) {
		return nil, fmt.Errorf("the operand is %s, the shape %s; the smaller one needs the axes of the larger, with the same extents or 1", in[0], a.Shape)
	}
	return one(y), nil
}

func broadcasts(small, big graph.Shape) bool {
	ok := len(small) == len(big)
	for i := 0; ok && i < len(small); i++ {
		ok = small[i] == big[i] || small[i] == graph.C(1)
	}
	return ok
}

// gather adds y to the elements of x that it was repeated from.
func gather(x []float64, y []float32, xd, yd []int) {
	if len(x) == len(y) {
		for i, v := range y {
			x[i] += float64(v)
		}
		return
	}
	ys := len(y) / yd[0]
	for i := range yd[0] {
		part := x
		if xd[0] != 1 {
			xs := len(x) / xd[0]
			part = x[i*xs : (i+1)*xs]
		}
		gather(part, y[i*ys:(i+1)*ys], xd[1:], yd[1:])
	}
}

// repeat fills y from x, axis by axis.
func repeat(y, x []float32, yd, xd []int) {
	if len(x) == len(y) {
		copy(y, x)
		return
	}
	ys := len(y) / yd[0]
	if xd[0] == yd[0] {
		xs := len(x) / xd[0]
		for i := range yd[0] {
			repeat(y[i*ys:(i+1)*ys], x[i*xs:(i+1)*xs], yd[1:], xd[1:])
		}
		return
	}
	repeat(y[:ys], x, yd[1:], xd[1:])
	for i := 1; i < yd[0]; i++ {
		copy(y[i*ys:(i+1)*ys], y[:ys])
	}
}
