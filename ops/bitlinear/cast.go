package bitlinear

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// Casts returns the fused ops of training in mixed precision, in the order in
// which the fuse pass tries them: what computes in f32 and is then cast, so that a
// kernel need not write the f32 values.
func Casts() []*graph.OpDef {
	return []*graph.OpDef{
		LinearCastAddOp.OpDef, LinearCastOp.OpDef, DequantCastOp.OpDef, WeightDequantCastOp.OpDef,
		FakeCastOp.OpDef, EmbeddingCastOp.OpDef,
	}
}

// LinearCastOp is BitLinear on quantized activations with a narrow result.
var LinearCastOp = graph.Define(graph.Def[ops.CastAttrs]{
	Name: "fused.bitlinear_cast", Doc: "cast(rescale(ternary.matmul(q, t), s, gamma))",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef, ops.CastOp.OpDef},
	Body: `(%q, %s, %t, %gamma) -> (%y) {
		%acc = ternary.matmul(%q, %t)
		%l   = rescale(%acc, %s, %gamma)
		%y   = cast(%l) {to=$to}
	}`,
})

// LinearCastAddOp adds the narrow residual stream to a narrow BitLinear.
var LinearCastAddOp = graph.Define(graph.Def[ops.CastAttrs]{
	Name: "fused.bitlinear_cast_add", Doc: "cast(bitlinear) + res",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef, ops.CastOp.OpDef, ops.AddOp.OpDef},
	Body: `(%q, %s, %t, %gamma, %res) -> (%y) {
		%acc = ternary.matmul(%q, %t)
		%l   = rescale(%acc, %s, %gamma)
		%c   = cast(%l) {to=$to}
		%y   = add(%c, %res)
	}`,
})

// DequantCastOp is what activation codes stand for, narrow.
var DequantCastOp = graph.Define(graph.Def[ops.CastAttrs]{
	Name: "fused.dequant_cast", Doc: "cast(q / s)",
	Uses: []*graph.OpDef{ops.DequantOp.OpDef, ops.CastOp.OpDef},
	Body: `(%q, %s) -> (%y) {
		%d = quant.dequant(%q, %s)
		%y = cast(%d) {to=$to}
	}`,
})

// WeightDequantCastOp is what ternary codes stand for, narrow.
var WeightDequantCastOp = graph.Define(graph.Def[ops.CastAttrs]{
	Name: "fused.ternary_dequant_cast", Doc: "cast(t * gamma)",
	Uses: []*graph.OpDef{ternary.DequantOp.OpDef, ops.CastOp.OpDef},
	Body: `(%t, %gamma) -> (%y) {
		%d = ternary.dequant(%t, %gamma)
		%y = cast(%d) {to=$to}
	}`,
})

// FakeCastAttrs joins a weight quantizer's and a cast's attributes.
type FakeCastAttrs struct {
	Scale string
	Group int
	To    string
}

// FakeCastOp is a weight rounded to its ternary grid, narrow.
var FakeCastOp = graph.Define(graph.Def[FakeCastAttrs]{
	Name: "fused.ternary_fake_cast", Doc: "cast(ternary.fake(w))",
	Phases: graph.Declared | graph.Training,
	Uses:   []*graph.OpDef{ternary.FakeOp.OpDef, ops.CastOp.OpDef},
	Body: `(%w) -> (%y) {
		%f = ternary.fake(%w) {scale=$scale, group=$group}
		%y = cast(%f) {to=$to}
	}`,
})

// EmbeddingCastOp is rows of a table, narrow.
var EmbeddingCastOp = graph.Define(graph.Def[ops.CastAttrs]{
	Name: "fused.embedding_cast", Doc: "cast(table[ids[i]])",
	Uses: []*graph.OpDef{ops.EmbeddingOp.OpDef, ops.CastOp.OpDef},
	Body: `(%table, %ids) -> (%y) {
		%e = embedding(%table, %ids)
		%y = cast(%e) {to=$to}
	}`,
})
