// Package extop is an op package as a user would write it, for the tests of
// source positions.
package extop

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// DoubleOp is defined and wrapped in this file.
var DoubleOp = graph.Define(graph.Def[graph.None]{
	Name: "ext.double", Doc: "y = 2x, of matrices only", In: "x", Out: "y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if in[0].Rank() != 2 {
			return nil, fmt.Errorf("x is %s, want rank 2", in[0])
		}
		return in, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		for i, v := range in[0].F32() {
			out[0].F32()[i] = 2 * v
		}
		return nil
	},
})

// Double returns 2x.
func Double(x graph.Value) graph.Value { return DoubleOp.One(graph.None{}, x) }
