package bitlinear

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// FusedTraining returns the fused ops of a training step, for devices whose time
// goes into reading and writing memory, in the order in which the fuse pass tries
// them.
func FusedTraining() []*graph.OpDef {
	return []*graph.OpDef{SubLNFakeOp.OpDef, NormGradAddOp.OpDef}
}

// SubLNFakeOp normalises and quantizes in one pass over the row, in floats.
var SubLNFakeOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.subln_fake", Doc: "quant.fake(rmsnorm(x, g))",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.RMSNormOp.OpDef, ops.FakeQuantOp.OpDef},
	Body: `(%x, %g) -> (%y) {
		%n = rmsnorm(%x, %g) {eps=$eps}
		%y = quant.fake(%n) {bits=$bits, round=$round}
	}`,
})

// NormGradAddOp is the gradient of a norm and of the residual stream beside it.
var NormGradAddOp = graph.Define(graph.Def[ops.NormAttrs]{
	Name: "fused.rmsnorm_grad_add", Doc: "rmsnorm.grad(x, g, dy) + res",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.RMSNormGradOp.OpDef, ops.AddOp.OpDef},
	Body: `(%x, %g, %dy, %res) -> (%y, %dg) {
		%dx, %dg = rmsnorm.grad(%x, %g, %dy) {eps=$eps}
		%y       = add(%dx, %res)
	}`,
})
