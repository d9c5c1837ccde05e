package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// CompareAttrs names the relation: lt, le, gt, ge, eq or ne.
type CompareAttrs struct{ Op string }

var relations = map[string]func(a, b float32) bool{
	"lt": func(a, b float32) bool { return a < b },
	"le": func(a, b float32) bool { return a <= b },
	"gt": func(a, b float32) bool { return a > b },
	"ge": func(a, b float32) bool { return a >= b },
	"eq": func(a, b float32) bool { return a == b },
	"ne": func(a, b float32) bool { return a != b },
}

// CompareOp makes a mask: 1 where the relation holds and 0 elsewhere. A mask is
// flat, so its gradient is zero.
var CompareOp = graph.Define(graph.Def[CompareAttrs]{
	Name: "compare", Doc: "y = 1 if a op b, else 0; b may be a scalar", In: "a, b", Out: "y",
	BF16:    "a, b -> y",
	Rowwise: []int{0, 1},
	Infer: func(a CompareAttrs, in []graph.Type) ([]graph.Type, error) {
		if relations[a.Op] == nil {
			return nil, fmt.Errorf("op is %q, want lt, le, gt, ge, eq or ne", a.Op)
		}
		return elementwise2(in)
	},
	Ref: func(a CompareAttrs, in, out []graph.Tensor) error {
		holds := relations[a.Op]
		binary(in, out, func(a, b float32) float32 {
			if holds(a, b) {
				return 1
			}
			return 0
		})
		return nil
	},
	Grad: func(_ CompareAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		zero := c.B.ConstF32(0)
		return []graph.Value{Fill(zero, c.In[0]), Fill(zero, c.In[1])}, nil
	},
})

// Compare returns 1 where "a op b" holds and 0 elsewhere, in the shape of a. The
// shapes are equal, or b is f32[]. Op is one of CompareAttrs'.
func Compare(a, b graph.Value, op string) graph.Value {
	return CompareOp.One(CompareAttrs{op}, a, b)
}
