package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// Expm1Op is exp(x) - 1, exact near zero.
var Expm1Op, Expm1GradOp = unary("expm1", "y = exp(x) - 1",
	math.Expm1,
	math.Exp)

// Expm1 returns exp(x) - 1, elementwise.
func Expm1(x graph.Value) graph.Value {
	graph.Helper(x)
	return Expm1Op.One(graph.None{}, x)
}
