package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SiLUOp is x·sigmoid(x).
var SiLUOp, SiLUGradOp = unary("silu", "y = x / (1 + exp(-x))",
	func(x float64) float64 { return x * sigmoid(x) },
	func(x float64) float64 { s := sigmoid(x); return s * (1 + x*(1-s)) })

// SiLU returns x·sigmoid(x), elementwise.
func SiLU(x graph.Value) graph.Value {
	graph.Helper(x)
	return SiLUOp.One(graph.None{}, x)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
