package ops

import "github.com/trit-ml/trit/graph"

// SigmoidOp is the logistic function.
var SigmoidOp, SigmoidGradOp = unary("sigmoid", "y = 1 / (1 + exp(-x))",
	sigmoid,
	func(x float64) float64 { s := sigmoid(x); return s * (1 - s) })

// Sigmoid returns 1/(1+exp(-x)), elementwise.
func Sigmoid(x graph.Value) graph.Value {
	graph.Helper(x)
	return SigmoidOp.One(graph.None{}, x)
}
