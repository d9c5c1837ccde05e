package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// AbsOp is the absolute value; its gradient at zero is zero.
var AbsOp, AbsGradOp = unary("abs", "y = |x|",
	math.Abs,
	sign)

// Abs returns the absolute value of x, elementwise.
func Abs(x graph.Value) graph.Value {
	graph.Helper(x)
	return AbsOp.One(graph.None{}, x)
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
