package ops

import "github.com/trit-ml/trit/graph"

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{
		AddOp.OpDef, MulOp.OpDef, ScaleOp.OpDef, SumOp.OpDef, FillOp.OpDef, CastOp.OpDef,
		ReLU2Op.OpDef, ReLU2GradOp.OpDef, SiLUOp.OpDef, SiLUGradOp.OpDef, GELUOp.OpDef, GELUGradOp.OpDef,
		EmbeddingOp.OpDef, EmbeddingGradOp.OpDef, RowsOp.OpDef,
		RMSNormOp.OpDef, RMSNormGradOp.OpDef, MatMulOp.OpDef, RoPEOp.OpDef,
		AttentionOp.OpDef, AttentionGradOp.OpDef, CachedAttentionOp.OpDef, KVAppendOp.OpDef,
		SoftmaxOp.OpDef, SoftmaxGradOp.OpDef, CrossEntropyOp.OpDef, CrossEntropyGradOp.OpDef,
		SqSumOp.OpDef, ClipOp.OpDef, AdamWOp.OpDef,
		QuantActOp.OpDef, FakeQuantOp.OpDef,
	}
}
