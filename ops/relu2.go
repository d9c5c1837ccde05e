package ops

import "github.com/trit-ml/trit/graph"

// ReLU2Op is the squared rectifier of BitNet b1.58; its gradient is
// 2·max(x,0)·dy.
var ReLU2Op, ReLU2GradOp = unary("relu2", "y = max(x, 0)²",
	func(x float64) float64 { x = max(x, 0); return x * x },
	func(x float64) float64 { return 2 * max(x, 0) })

// ReLU2 returns max(x, 0)², elementwise.
func ReLU2(x graph.Value) graph.Value {
	graph.Helper(x)
	return ReLU2Op.One(graph.None{}, x)
}
