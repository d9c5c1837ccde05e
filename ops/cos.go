package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// CosOp is the cosine.
var CosOp, CosGradOp = unary("cos", "y = cos(x)",
	math.Cos,
	func(x float64) float64 { return -math.Sin(x) })

// Cos returns the cosine of x, in radians, elementwise.
func Cos(x graph.Value) graph.Value {
	graph.Helper(x)
	return CosOp.One(graph.None{}, x)
}
