package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// PadAttrs says how many zeros come before and after an axis.
type PadAttrs struct{ Axis, Before, After int }

// PadOp extends one axis with zeros: the gradient of a slice.
var PadOp = graph.Define(graph.Def[PadAttrs]{
	Name: "pad", Doc: "x with zeros before and after it along an axis", In: "x", Out: "y",
	BF16: "x -> y",
	Infer: func(a PadAttrs, in []graph.Type) ([]graph.Type, error) {
		x := in[0]
		if err := Check(in, F32("x", -1)); err != nil {
			return nil, err
		}
		if err := checkAxis(x, a.Axis); err != nil {
			return nil, err
		}
		n, ok := x.Shape[a.Axis].Const()
		if !ok || a.Before < 0 || a.After < 0 {
			return nil, fmt.Errorf("cannot pad axis %d of %s with %d and %d: the numbers must not be negative and the extent constant", a.Axis, x, a.Before, a.After)
		}
		y := graph.T(graph.F32, append(graph.Shape{}, x.Shape...)...)
		y.Shape[a.Axis] = graph.C(a.Before + n + a.After)
		return one(y), nil
	},
	Ref: func(a PadAttrs, in, out []graph.Tensor) error {
		outer, n, inner := around(in[0].Dims, a.Axis)
		x, y := in[0].F32(), out[0].F32()
		clear(y)
		m := a.Before + n + a.After
		for o := range outer {
			copy(y[(o*m+a.Before)*inner:], x[o*n*inner:(o+1)*n*inner])
		}
		return nil
	},
})

// Pad returns x with zeros before and after it along an axis.
func Pad(x graph.Value, axis, before, after int) graph.Value {
	return PadOp.One(PadAttrs{axis, before, after}, x)
}
