// Package bitlinear declares BitLinear, the linear layer of BitNet b1.58, in
// its training form, and the ops that it becomes in inference.
package bitlinear

import (
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// All returns the ops of this package.
func All() []*graph.OpDef {
	return slices.Concat([]*graph.OpDef{Op.OpDef, RescaleOp.OpDef}, Fused(), Normed(), Casts(), FusedTraining())
}

// Attrs chooses the quantizers.
type Attrs struct {
	Bits  int
	Round string
	Scale string
	Group int // weights along a row that share a scale; 0: the whole matrix
}

// Default is BitNet b1.58: 8-bit activations, absmean weights.
var Default = Attrs{Bits: 8, Round: "even", Scale: "absmean"}

// Op is a linear layer whose input and weight are quantized on the fly. Its
// body is the training form (quantization-aware training); the infer pipeline
// replaces it by integer ops.
var Op = graph.Define(graph.Def[Attrs]{
	Name: "bitlinear", Doc: "y = dequant(quant(x) · ternary(w)ᵀ)",
	Phases: graph.Declared, Rowwise: []int{0},
	Uses: []*graph.OpDef{ops.FakeQuantOp.OpDef, ternary.FakeOp.OpDef, ops.MatMulOp.OpDef},
	Body: `(%x, %w) -> (%y) {
		%xq = quant.fake(%x) {bits=$bits, round=$round}
		%wq = ternary.fake(%w) {scale=$scale, group=$group}
		%y  = matmul(%xq, %wq) {tb=true}
	}`,
})

// Weights are the attributes of the weight's quantizer.
func (a Attrs) Weights() ternary.ScaleAttrs {
	return ternary.ScaleAttrs{Scale: a.Scale, Group: a.Group}
}

// Linear returns BitLinear of x f32[S,K] with weights w [N,K].
func Linear(x, w graph.Value) graph.Value { return Op.One(Default, x, w) }
