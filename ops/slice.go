package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// SliceAttrs names the half-open range [From,To) of an axis.
type SliceAttrs struct{ Axis, From, To int }

// SliceOp takes a range of one axis, whose extent must be constant.
var SliceOp = graph.Define(graph.Def[SliceAttrs]{
	Name: "slice", Doc: "elements from..to-1 along an axis", In: "x", Out: "y",
	BF16: "x -> y",
	Infer: func(a SliceAttrs, in []graph.Type) ([]graph.Type, error) {
		x := in[0]
		if err := Check(in, F32("x", -1)); err != nil {
			return nil, err
		}
		if err := checkAxis(x, a.Axis); err != nil {
			return nil, err
		}
		n, ok := x.Shape[a.Axis].Const()
		if !ok || a.From < 0 || a.From > a.To || a.To > n {
			return nil, fmt.Errorf("range %d..%d of axis %d is not inside %s, or that extent is not constant", a.From, a.To, a.Axis, x)
		}
		y := graph.T(graph.F32, append(graph.Shape{}, x.Shape...)...)
		y.Shape[a.Axis] = graph.C(a.To - a.From)
		return one(y), nil
	},
	Ref: func(a SliceAttrs, in, out []graph.Tensor) error {
		outer, n, inner := around(in[0].Dims, a.Axis)
		x, y := in[0].F32(), out[0].F32()
		m := (a.To - a.From) * inner
		for o := range outer {
			copy(y[o*m:(o+1)*m], x[(o*n+a.From)*inner:])
		}
		return nil
	},
	Grad: func(a SliceAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		n, _ := c.In[0].Dim(a.Axis).Const()
		return []graph.Value{PadOp.One(PadAttrs{a.Axis, a.From, n - a.To}, c.DOut[0])}, nil
	},
})

// Slice returns elements from..to-1 of x along an axis.
func Slice(x graph.Value, axis, from, to int) graph.Value {
	return SliceOp.One(SliceAttrs{axis, from, to}, x)
}
