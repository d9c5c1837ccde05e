package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// CastAttrs holds the target element type's name.
type CastAttrs struct{ To string }

// CastOp converts between floating-point types, rounding half to even.
var CastOp = graph.Define(graph.Def[CastAttrs]{
	Name: "cast", Doc: "x converted to another floating-point type", In: "x", Out: "y",
	Rowwise: []int{0},
	Infer: func(a CastAttrs, in []graph.Type) ([]graph.Type, error) {
		to, err := graph.ParseDType(a.To)
		if err != nil {
			return nil, err
		}
		if !to.IsFloat() || to == graph.F64 {
			return nil, fmt.Errorf("cannot cast to %s", to)
		}
		t := in[0]
		t.Elem = to
		return one(t), Check(in, Float("x", -1))
	},
	Ref: func(_ CastAttrs, in, out []graph.Tensor) error {
		x, err := in[0].ToF32()
		if err != nil {
			return err
		}
		switch out[0].Elem {
		case graph.F32:
			copy(out[0].F32(), x.F32())
		case graph.BF16:
			for i, v := range x.F32() {
				out[0].U16()[i] = graph.F32ToBF16(v)
			}
		case graph.F16:
			for i, v := range x.F32() {
				out[0].U16()[i] = graph.F32ToF16(v)
			}
		}
		return nil
	},
	Grad: func(_ CastAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{c.Self(CastAttrs{c.In[0].Type().Elem.String()}, c.DOut[0])}, nil
	},
})

// Cast returns x converted to the given floating-point type.
func Cast(x graph.Value, to graph.DType) graph.Value { return CastOp.One(CastAttrs{to.String()}, x) }
