package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// TanhOp is the hyperbolic tangent.
var TanhOp, TanhGradOp = unary("tanh", "y = tanh(x)",
	math.Tanh,
	func(x float64) float64 { t := math.Tanh(x); return 1 - t*t })

// Tanh returns the hyperbolic tangent of x, elementwise.
func Tanh(x graph.Value) graph.Value {
	graph.Helper(x)
	return TanhOp.One(graph.None{}, x)
}
