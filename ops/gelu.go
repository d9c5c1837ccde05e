package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// GELUOp is the exact Gaussian error linear unit, x·Φ(x).
var GELUOp, GELUGradOp = unary("gelu", "y = x·(1 + erf(x/√2))/2",
	func(x float64) float64 { return x * gaussCDF(x) },
	func(x float64) float64 { return gaussCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi) })

// GELU returns x·Φ(x), elementwise.
func GELU(x graph.Value) graph.Value {
	graph.Helper(x)
	return GELUOp.One(graph.None{}, x)
}

func gaussCDF(x float64) float64 { return (1 + math.Erf(x/math.Sqrt2)) / 2 }
