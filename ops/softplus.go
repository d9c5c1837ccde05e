package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SoftplusOp is log(1 + exp(x)), without overflow.
var SoftplusOp, SoftplusGradOp = unary("softplus", "y = log(1 + exp(x))",
	func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) },
	sigmoid)

// Softplus returns log(1 + exp(x)), elementwise.
func Softplus(x graph.Value) graph.Value {
	graph.Helper(x)
	return SoftplusOp.One(graph.None{}, x)
}
