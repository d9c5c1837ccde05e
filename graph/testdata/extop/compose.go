package extop

import "github.com/trit-ml/trit/graph"

// Quad returns 4x; its nodes belong to its caller's line.
func Quad(x graph.Value) graph.Value {
	graph.Helper(x)
	return Double(Double(x))
}

// Oct returns 8x through a helper that calls a helper.
func Oct(x graph.Value) graph.Value {
	graph.Helper(x)
	return Double(Quad(x))
}

// Plain returns 4x; its nodes belong to the lines here.
func Plain(x graph.Value) graph.Value {
	x = Double(x)
	return Double(x)
}
