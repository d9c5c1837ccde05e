package bitlinear

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// Fused returns the fused ops of inference in the order in which the fuse pass
// tries them: larger ones first, those made of other fused ops after these.
func Fused() []*graph.OpDef {
	return []*graph.OpDef{
		GLUSubLNQuantOp.OpDef, ReLU2GLUOp.OpDef, SubLNQuantOp.OpDef,
		RoPEAppendOp.OpDef,
		LinearAddOp.OpDef, IntLinear3Op.OpDef, IntLinear2Op.OpDef, IntLinearOp.OpDef,
		GLUDownOp.OpDef, MLPOp.OpDef,
	}
}

// NormQuantAttrs joins a norm's and a quantizer's attributes.
type NormQuantAttrs struct {
	Eps   float64
	Bits  int
	Round string
}

// SubLNQuantOp normalises and quantizes in one pass over the row.
var SubLNQuantOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.subln_quant", Doc: "quant.act(rmsnorm(x, g))",
	Uses: []*graph.OpDef{ops.RMSNormOp.OpDef, ops.QuantActOp.OpDef},
	Body: `(%x, %g) -> (%q, %s) {
		%n     = rmsnorm(%x, %g) {eps=$eps}
		%q, %s = quant.act(%n) {bits=$bits, round=$round}
	}`,
})

// QMax is the largest code of the quantizer.
func (a NormQuantAttrs) QMax() float32 { return ops.QuantAttrs{Bits: a.Bits, Round: a.Round}.QMax() }

// ReLU2GLUOp is the gate of BitNet b1.58's feed-forward layer.
var ReLU2GLUOp = graph.Define(graph.Def[graph.None]{
	Name: "fused.relu2_glu", Doc: "relu2(gate) * up",
	Uses: []*graph.OpDef{ops.ReLU2Op.OpDef, ops.MulOp.OpDef},
	Body: `(%gate, %up) -> (%y) {
		%r = relu2(%gate)
		%y = mul(%r, %up)
	}`,
})

// GLUSubLNQuantOp is everything between the up and the down projection.
var GLUSubLNQuantOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.relu2_glu_subln_quant", Doc: "quant.act(rmsnorm(relu2(gate) * up, g))",
	Uses: []*graph.OpDef{ops.ReLU2Op.OpDef, ops.MulOp.OpDef, ops.RMSNormOp.OpDef, ops.QuantActOp.OpDef},
	Body: `(%gate, %up, %g) -> (%q, %s) {
		%r     = relu2(%gate)
		%m     = mul(%r, %up)
		%n     = rmsnorm(%m, %g) {eps=$eps}
		%q, %s = quant.act(%n) {bits=$bits, round=$round}
	}`,
})

// IntLinearOp is BitLinear on quantized activations.
var IntLinearOp = graph.Define(graph.Def[graph.None]{
	Name: "fused.bitlinear", Doc: "rescale(ternary.matmul(q, t), s, gamma)",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef},
	Body: `(%q, %s, %t, %gamma) -> (%y) {
		%acc = ternary.matmul(%q, %t)
		%y   = rescale(%acc, %s, %gamma)
	}`,
})

// LinearAddOp adds the residual stream to a BitLinear.
var LinearAddOp = graph.Define(graph.Def[graph.None]{
	Name: "fused.bitlinear_add", Doc: "bitlinear + res",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef, ops.AddOp.OpDef},
	Body: `(%q, %s, %t, %gamma, %res) -> (%y) {
		%acc = ternary.matmul(%q, %t)
		%l   = rescale(%acc, %s, %gamma)
		%y   = add(%l, %res)
	}`,
})

// GLUDownOp is a feed-forward layer behind its gate and up projections. Where
// relu2(gate) is zero the down projection's input is, so a kernel can leave out
// the columns that meet it.
var GLUDownOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.relu2_glu_down", Doc: "bitlinear(relu2(gate) * up, normalised) + res",
	Uses: []*graph.OpDef{GLUSubLNQuantOp.OpDef, LinearAddOp.OpDef},
	Body: `(%gate, %up, %g, %t, %gamma, %res) -> (%y) {
		%q, %s = fused.relu2_glu_subln_quant(%gate, %up, %g) {eps=$eps, bits=$bits, round=$round}
		%y     = fused.bitlinear_add(%q, %s, %t, %gamma, %res)
	}`,
})

// IntLinear2Op is two BitLinears of one input, such as gate and up. The
// merge-siblings pass makes it.
var IntLinear2Op = graph.Define(graph.Def[graph.None]{
	Name: "fused.bitlinear2", Doc: "two bitlinears of one quantized input",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef},
	Body: `(%q, %s, %t0, %gamma0, %t1, %gamma1) -> (%y0, %y1) {
		%a0 = ternary.matmul(%q, %t0)
		%y0 = rescale(%a0, %s, %gamma0)
		%a1 = ternary.matmul(%q, %t1)
		%y1 = rescale(%a1, %s, %gamma1)
	}`,
})

// IntLinear3Op is three BitLinears of one input, such as q, k and v. The
// merge-siblings pass makes it.
var IntLinear3Op = graph.Define(graph.Def[graph.None]{
	Name: "fused.bitlinear3", Doc: "three bitlinears of one quantized input",
	Uses: []*graph.OpDef{ternary.MatMulOp.OpDef, RescaleOp.OpDef},
	Body: `(%q, %s, %t0, %gamma0, %t1, %gamma1, %t2, %gamma2) -> (%y0, %y1, %y2) {
		%a0 = ternary.matmul(%q, %t0)
		%y0 = rescale(%a0, %s, %gamma0)
		%a1 = ternary.matmul(%q, %t1)
		%y1 = rescale(%a1, %s, %gamma1)
		%a2 = ternary.matmul(%q, %t2)
		%y2 = rescale(%a2, %s, %gamma2)
	}`,
})

// RoPEAppendAttrs are RoPE's attributes for queries and keys alike.
type RoPEAppendAttrs struct {
	Theta   float64
	HeadDim int `ir:"head_dim"`
}

// RoPEAppendOp rotates queries and keys and appends keys and values to the
// cache.
var RoPEAppendOp = graph.Define(graph.Def[RoPEAppendAttrs]{
	Name: "fused.rope_append", Doc: "rope(q); kv.append(rope(k), v)",
	Updates: []graph.Update{{In: 0, Out: 1}, {In: 1, Out: 2}},
	Uses:    []*graph.OpDef{ops.RoPEOp.OpDef, ops.KVAppendOp.OpDef},
	Body: `(%kc, %vc, %q, %k, %v, %seq, %pos, %table) -> (%qr, %kd, %vd) {
		%qr      = rope(%q, %pos) {theta=$theta, head_dim=$head_dim}
		%kr      = rope(%k, %pos) {theta=$theta, head_dim=$head_dim}
		%kd, %vd = kv.append(%kc, %vc, %kr, %v, %seq, %pos, %table)
	}`,
})

// MLPOp is a feed-forward layer behind its quantizer. Where relu2(gate) is zero the
// product with up is, whatever up is, so a kernel can leave out those rows of the up
// projection, and the columns of the down projection that meet them.
var MLPOp = graph.Define(graph.Def[NormQuantAttrs]{
	Name: "fused.relu2_mlp", Doc: "gate and up bitlinears, relu2(gate) * up, normalised, down bitlinear, + res",
	Uses: []*graph.OpDef{IntLinear2Op.OpDef, GLUDownOp.OpDef},
	Body: `(%q, %s, %t0, %gamma0, %t1, %gamma1, %g, %t2, %gamma2, %res) -> (%y) {
		%gate, %up = fused.bitlinear2(%q, %s, %t0, %gamma0, %t1, %gamma1)
		%y         = fused.relu2_glu_down(%gate, %up, %g, %t2, %gamma2, %res) {eps=$eps, bits=$bits, round=$round}
	}`,
})
