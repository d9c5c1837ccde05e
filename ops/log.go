package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// LogOp is the natural logarithm.
var LogOp, LogGradOp = unary("log", "y = log(x)",
	math.Log,
	func(x float64) float64 { return 1 / x })

// Log returns the natural logarithm of x, elementwise.
func Log(x graph.Value) graph.Value {
	graph.Helper(x)
	return LogOp.One(graph.None{}, x)
}
