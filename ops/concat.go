package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// AxisAttrs names an axis.
type AxisAttrs struct{ Axis int }

// ConcatOp joins tensors along an axis, along which their extents are constant.
var ConcatOp = graph.Define(graph.Def[AxisAttrs]{
	Name: "concat", Doc: "the tensors one after another along an axis", In: "x, xs...", Out: "y",
	BF16: "x, xs -> y",
	Infer: func(a AxisAttrs, in []graph.Type) ([]graph.Type, error) {
		y := graph.T(graph.F32, append(graph.Shape{}, in[0].Shape...)...)
		n := 0
		for i, x := range in {
			name := fmt.Sprintf("operand %d", i)
			if err := Check(in[i:i+1], F32(name, -1)); err != nil {
				return nil, err
			}
			if err := checkAxis(x, a.Axis); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			d, ok := x.Shape[a.Axis].Const()
			if !ok {
				return nil, fmt.Errorf("%s is %s; its extent along axis %d must be constant", name, x, a.Axis)
			}
			n += d
			if x.Rank() != y.Rank() || !without(x.Shape, a.Axis).Equal(without(y.Shape, a.Axis)) {
				return nil, fmt.Errorf("%s is %s, which differs from %s beside axis %d", name, x, in[0], a.Axis)
			}
		}
		y.Shape[a.Axis] = graph.C(n)
		return one(y), nil
	},
	Ref: func(a AxisAttrs, in, out []graph.Tensor) error {
		y, at := out[0].F32(), 0
		outer, _, _ := around(out[0].Dims, a.Axis)
		if outer == 0 {
			return nil
		}
		row := len(y) / outer
		for _, t := range in {
			x := t.F32()
			w := len(x) / outer
			for o := range outer {
				copy(y[o*row+at:], x[o*w:(o+1)*w])
			}
			at += w
		}
		return nil
	},
	Grad: func(a AxisAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		var ds []graph.Value
		at := 0
		for _, x := range c.In {
			n, _ := x.Dim(a.Axis).Const()
			ds = append(ds, Slice(c.DOut[0], a.Axis, at, at+n))
			at += n
		}
		return ds, nil
	},
})

// Concat joins tensors along an axis.
func Concat(axis int, x graph.Value, xs ...graph.Value) graph.Value {
	return ConcatOp.One(AxisAttrs{axis}, append([]graph.Value{x}, xs...)...)
}
