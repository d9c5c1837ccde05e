package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// Log1pOp is log(1 + x), exact near zero.
var Log1pOp, Log1pGradOp = unary("log1p", "y = log(1 + x)",
	math.Log1p,
	func(x float64) float64 { return 1 / (1 + x) })

// Log1p returns log(1 + x), elementwise.
func Log1p(x graph.Value) graph.Value {
	graph.Helper(x)
	return Log1pOp.One(graph.None{}, x)
}
