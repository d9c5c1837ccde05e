package bitlinear

import "github.com/trit-ml/trit/graph"

// Normed returns fusions of BitLinears with the norm before them, larger ones
// first, and of all that stands between projections. They suit devices on which
// starting a kernel costs more than normalising a token again in every part of the
// product; where a device has kernels for them, they go before those of Fused.
func Normed() []*graph.OpDef {
	return []*graph.OpDef{NormGLUOp.OpDef, NormLinear3Op.OpDef, NormLinearAddOp.OpDef, RoPEAttendOp.OpDef}
}

// NormGLUOp is a feed-forward layer up to its gate.
var NormGLUOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.norm_glu", Doc: "relu2(gate) * up of bitlinears of rmsnorm(x, g)",
	Uses: []*graph.OpDef{SubLNQuantOp.OpDef, IntLinear2Op.OpDef, ReLU2GLUOp.OpDef},
	Body: `(%x, %g, %t0, %gamma0, %t1, %gamma1) -> (%y) {
		%q, %s     = fused.subln_quant(%x, %g) {eps=$eps, bits=$bits, round=$round}
		%gate, %up = fused.bitlinear2(%q, %s, %t0, %gamma0, %t1, %gamma1)
		%y         = fused.relu2_glu(%gate, %up)
	}`,
})

// NormLinear3Op is the query, key and value projections with their norm.
var NormLinear3Op = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.norm_bitlinear3", Doc: "three bitlinears of rmsnorm(x, g)",
	Uses: []*graph.OpDef{SubLNQuantOp.OpDef, IntLinear3Op.OpDef},
	Body: `(%x, %g, %t0, %gamma0, %t1, %gamma1, %t2, %gamma2) -> (%y0, %y1, %y2) {
		%q, %s        = fused.subln_quant(%x, %g) {eps=$eps, bits=$bits, round=$round}
		%y0, %y1, %y2 = fused.bitlinear3(%q, %s, %t0, %gamma0, %t1, %gamma1, %t2, %gamma2)
	}`,
})

// NormLinearAddOp is a norm, a projection and the residual stream: what follows
// attention, and what follows the gate.
var NormLinearAddOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.norm_bitlinear_add", Doc: "bitlinear(rmsnorm(x, g)) + res",
	Uses: []*graph.OpDef{SubLNQuantOp.OpDef, LinearAddOp.OpDef},
	Body: `(%x, %g, %t, %gamma, %res) -> (%y) {
		%q, %s = fused.subln_quant(%x, %g) {eps=$eps, bits=$bits, round=$round}
		%y     = fused.bitlinear_add(%q, %s, %t, %gamma, %res)
	}`,
})
