// Package ternary declares the ops on ternary weights {-1, 0, +1}: their
// quantizer, its straight-through form for training, and the exact integer
// matrix product.
package ternary

import "github.com/trit-ml/trit/graph"

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{QuantizeOp.OpDef, DequantOp.OpDef, FakeOp.OpDef, MatMulOp.OpDef, GroupMatMulOp.OpDef, SliceOp.OpDef}
}
