package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// ExpOp is the exponential function.
var ExpOp, ExpGradOp = unary("exp", "y = exp(x)",
	math.Exp,
	math.Exp)

// Exp returns the exponential of x, elementwise.
func Exp(x graph.Value) graph.Value {
	graph.Helper(x)
	return ExpOp.One(graph.None{}, x)
}
