package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SqrtOp is the square root.
var SqrtOp, SqrtGradOp = unary("sqrt", "y = √x",
	math.Sqrt,
	func(x float64) float64 { return 0.5 / math.Sqrt(x) })

// Sqrt returns the square root of x, elementwise.
func Sqrt(x graph.Value) graph.Value {
	graph.Helper(x)
	return SqrtOp.One(graph.None{}, x)
}
