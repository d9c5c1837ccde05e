package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// BroadcastAttrs says whether the repeated values are divided by the number of
// repeats: the gradient of a mean.
type BroadcastAttrs struct{ Mean bool }

// BroadcastOp repeats x along the axes where its extent is 1 and like's is not.
// Only the shape of like is read.
var BroadcastOp = graph.Define(graph.Def[BroadcastAttrs]{
	Name: "broadcast", Doc: "x repeated along its axes of extent 1, to the shape of like", In: "x, like", Out: "y",
	Infer: func(_ BroadcastAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", -1), F32("like", -1)); err != nil {
			return nil, err
		}
		return one(in[1]), broadcasts("x", in[0], "like", in[1])
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
		return BroadcastGradOp.Emit(a, c.DOut[0], c.In[0]), nil
	},
})

// Broadcast returns x repeated along its axes of extent 1 to the shape of like.
func Broadcast(x, like graph.Value) graph.Value {
	return BroadcastOp.One(BroadcastAttrs{}, x, like)
}

// BroadcastGradOp adds what a broadcast repeated. Only the shape of x is read.
var BroadcastGradOp = graph.Define(graph.Def[BroadcastAttrs]{
	Name: "broadcast.grad", Doc: "dy summed along the axes where x has extent 1", In: "dy, x", Out: "dx",
	Infer: func(_ BroadcastAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("dy", -1), F32("x", -1)); err != nil {
			return nil, err
		}
		return one(in[1]), broadcasts("x", in[1], "dy", in[0])
	},
	Ref: func(a BroadcastAttrs, in, out []graph.Tensor) error {
		dy, dx := in[0].F32(), out[0].F32()
		sums := make([]float64, len(dx))
		if len(dy) > 0 {
			gather(sums, dy, out[0].Dims, in[0].Dims)
		}
		by := 1.0
		if a.Mean && len(dy) > 0 {
			by = float64(len(dx)) / float64(len(dy))
		}
		for i, v := range sums {
			dx[i] = float32(v * by)
		}
		return nil
	},
})

// broadcasts requires the small type to have the axes of the big one, with the
// same extents or 1.
func broadcasts(sName string, s graph.Type, bName string, b graph.Type) error {
	ok := s.Rank() == b.Rank()
	for i := 0; ok && i < s.Rank(); i++ {
		ok = s.Shape[i] == b.Shape[i] || s.Shape[i] == graph.C(1)
	}
	if !ok {
		return fmt.Errorf("%s is %s but %s is %s; %s needs the same axes, with the same extents or 1", sName, s, bName, b, sName)
	}
	return nil
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
	if len(yd) == 0 {
		y[0] = x[0]
		return
	}
	ys := len(y) / yd[0]
	if xd[0] == yd[0] {
		if xs := len(x) / xd[0]; xs == ys {
			copy(y, x)
		} else {
			for i := range yd[0] {
				repeat(y[i*ys:(i+1)*ys], x[i*xs:(i+1)*xs], yd[1:], xd[1:])
			}
		}
		return
	}
	repeat(y[:ys], x, yd[1:], xd[1:])
	for i := 1; i < yd[0]; i++ {
		copy(y[i*ys:(i+1)*ys], y[:ys])
	}
}
