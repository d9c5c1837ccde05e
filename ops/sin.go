package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SinOp is the sine.
var SinOp, SinGradOp = unary("sin", "y = sin(x)",
	math.Sin,
	math.Cos)

// Sin returns the sine of x, in radians, elementwise.
func Sin(x graph.Value) graph.Value {
	graph.Helper(x)
	return SinOp.One(graph.None{}, x)
}
