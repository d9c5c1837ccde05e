package ops

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// ReshapeAttrs holds the new shape in the textual form, such as "[2*S,8]".
type ReshapeAttrs struct{ Shape string }

// ReshapeOp gives the same elements, in the same row-major order, another shape.
var ReshapeOp = graph.Define(graph.Def[ReshapeAttrs]{
	Name: "reshape", Doc: "x with another shape of as many elements", In: "x", Out: "y", View: true,
	BF16: "x -> y",
	Infer: func(a ReshapeAttrs, in []graph.Type) ([]graph.Type, error) {
		x := in[0]
		if err := Check(in, Want{"x", []graph.DType{graph.F32, graph.I32}, -1}); err != nil {
			return nil, err
		}
		y, err := graph.ParseType(x.Elem.String() + a.Shape)
		if err != nil {
			return nil, fmt.Errorf("bad shape %q: %w", a.Shape, err)
		}
		if !sameCount(x.Shape, y.Shape) {
			return nil, fmt.Errorf("x is %s, which has another number of elements than %s", x, y.Shape)
		}
		return one(y), nil
	},
	Ref: func(_ ReshapeAttrs, in, out []graph.Tensor) error {
		copy(out[0].Data, in[0].Data)
		return nil
	},
	Grad: func(_ ReshapeAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{c.Self(ReshapeAttrs{c.In[0].Type().Shape.String()}, c.DOut[0])}, nil
	},
})

// Reshape returns x with another shape of as many elements.
func Reshape(x graph.Value, shape ...graph.Dim) graph.Value {
	return ReshapeOp.One(ReshapeAttrs{graph.Shape(shape).String()}, x)
}

// sameCount reports whether two shapes have as many elements for every value of
// their symbols: equal constants and equal factors with a symbol.
func sameCount(a, b graph.Shape) bool {
	an, as := factors(a)
	bn, bs := factors(b)
	return an == bn && (an == 0 || slices.Equal(as, bs))
}

// factors is the product of a shape's constants, and its other factors in a
// fixed order.
func factors(s graph.Shape) (n int, syms []string) {
	n = 1
	for _, d := range s {
		if v, ok := d.Const(); ok {
			n *= v
			continue
		}
		g := gcd(d.Mul, d.Add)
		if d.Mul < 0 {
			g = -g
		}
		n *= g
		d.Mul, d.Add = d.Mul/g, d.Add/g
		syms = append(syms, d.String())
	}
	slices.Sort(syms)
	return n, syms
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}
