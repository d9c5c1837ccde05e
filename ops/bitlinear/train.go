package bitlinear

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// FusedTraining returns the fused ops of a training step, for devices whose time
// goes into reading and writing memory, in the order in which the fuse pass tries
// them.
func FusedTraining() []*graph.OpDef {
	return []*graph.OpDef{GLUSubLNGradOp.OpDef, GLUSubLNFakeOp.OpDef, SubLNFakeOp.OpDef, NormGradSum3AddOp.OpDef, NormGradSum2AddOp.OpDef, NormGradAddOp.OpDef}
}

// GLUSubLNFakeOp is everything between the up and the down projection, in floats.
var GLUSubLNFakeOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.relu2_glu_subln_fake", Doc: "quant.fake(rmsnorm(relu2(gate) * up, g))",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.ReLU2Op.OpDef, ops.MulOp.OpDef, ops.RMSNormOp.OpDef, ops.FakeQuantOp.OpDef},
	Body: `(%gate, %up, %g) -> (%y) {
		%r = relu2(%gate)
		%m = mul(%r, %up)
		%n = rmsnorm(%m, %g) {eps=$eps}
		%y = quant.fake(%n) {bits=$bits, round=$round}
	}`,
})

// GLUSubLNGradOp is the gradient of the gated unit and its norm. It computes the
// unit again, so that neither it nor its parts are kept; see passes.Regate.
var GLUSubLNGradOp = graph.Define(graph.Def[ops.NormAttrs]{
	Name: "fused.relu2_glu_subln_grad", Doc: "gradients of rmsnorm(relu2(gate) * up, g)",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.ReLU2Op.OpDef, ops.MulOp.OpDef, ops.RMSNormGradOp.OpDef, ops.ReLU2GradOp.OpDef},
	Body: `(%gate, %up, %g, %dy) -> (%dgate, %dup, %dg) {
		%r       = relu2(%gate)
		%m       = mul(%r, %up)
		%dm, %dg = rmsnorm.grad(%m, %g, %dy) {eps=$eps}
		%dr      = mul(%dm, %up)
		%dup     = mul(%dm, %r)
		%dgate   = relu2.grad(%gate, %dr)
	}`,
})

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

// NormGradSum2AddOp is NormGradAddOp where two layers read the norm's result, such
// as gate and up.
var NormGradSum2AddOp = graph.Define(graph.Def[ops.NormAttrs]{
	Name: "fused.rmsnorm_grad_sum2_add", Doc: "rmsnorm.grad(x, g, a + b) + res",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.RMSNormGradOp.OpDef, ops.AddOp.OpDef},
	Body: `(%x, %g, %a, %b, %res) -> (%y, %dg) {
		%dy      = add(%a, %b)
		%dx, %dg = rmsnorm.grad(%x, %g, %dy) {eps=$eps}
		%y       = add(%dx, %res)
	}`,
})

// NormGradSum3AddOp is NormGradAddOp where three do, such as query, key and value.
var NormGradSum3AddOp = graph.Define(graph.Def[ops.NormAttrs]{
	Name: "fused.rmsnorm_grad_sum3_add", Doc: "rmsnorm.grad(x, g, a + b + c) + res",
	Phases: graph.Training,
	Uses:   []*graph.OpDef{ops.RMSNormGradOp.OpDef, ops.AddOp.OpDef},
	Body: `(%x, %g, %a, %b, %c, %res) -> (%y, %dg) {
		%ab      = add(%a, %b)
		%dy      = add(%ab, %c)
		%dx, %dg = rmsnorm.grad(%x, %g, %dy) {eps=$eps}
		%y       = add(%dx, %res)
	}`,
})
