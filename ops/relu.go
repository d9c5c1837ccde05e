package ops

import "github.com/trit-ml/trit/graph"

// ReLUOp is the rectifier as a gated product, x where x ≥ 0 and 0 elsewhere; the
// gate is open at zero, also for the gradient.
var ReLUOp, ReLUGradOp = unary("relu", "y = x if x >= 0, else 0",
	func(x float64) float64 { return max(x, 0) },
	func(x float64) float64 {
		if x >= 0 {
			return 1
		}
		return 0
	})

// ReLU returns max(x, 0), elementwise.
func ReLU(x graph.Value) graph.Value {
	graph.Helper(x)
	return ReLUOp.One(graph.None{}, x)
}
