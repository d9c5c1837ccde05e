package ops

import "github.com/trit-ml/trit/graph"

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{
		AddOp.OpDef, MulOp.OpDef, ScaleOp.OpDef, SumOp.OpDef, FillOp.OpDef, CastOp.OpDef,
		ReLU2Op.OpDef, ReLU2GradOp.OpDef, SiLUOp.OpDef, SiLUGradOp.OpDef, GELUOp.OpDef, GELUGradOp.OpDef,
		EmbeddingOp.OpDef, EmbeddingGradOp.OpDef, RowsOp.OpDef,
		RMSNormOp.OpDef, RMSNormGradOp.OpDef, MatMulOp.OpDef, RoPEOp.OpDef,
		AttentionOp.OpDef, AttentionGradOp.OpDef, AttentionDropoutOp.OpDef, AttentionDropoutGradOp.OpDef, CachedAttentionOp.OpDef, KVAppendOp.OpDef, CachedAttentionCodesOp.OpDef, KVAppendCodesOp.OpDef,
		SoftmaxOp.OpDef, SoftmaxGradOp.OpDef, CrossEntropyOp.OpDef, CrossEntropyGradOp.OpDef,
		DistillOp.OpDef, DistillGradOp.OpDef, RelationOp.OpDef, RelationGradOp.OpDef,
		SqSumOp.OpDef, ClipOp.OpDef, ClipGradsOp.OpDef, AdamWCastOp.OpDef, AdamWOp.OpDef, AccumulateOp.OpDef, EMAOp.OpDef,
		QuantActOp.OpDef, DequantOp.OpDef, FakeQuantOp.OpDef, BlendOp.OpDef, DropoutOp.OpDef,
		SubOp.OpDef, DivOp.OpDef, CompareOp.OpDef, ReLUOp.OpDef, ReLUGradOp.OpDef,
		ExpOp.OpDef, ExpGradOp.OpDef, Expm1Op.OpDef, Expm1GradOp.OpDef,
		LogOp.OpDef, LogGradOp.OpDef, Log1pOp.OpDef, Log1pGradOp.OpDef, LogSoftmaxOp.OpDef,
		TanhOp.OpDef, TanhGradOp.OpDef, SigmoidOp.OpDef, SigmoidGradOp.OpDef,
		SoftplusOp.OpDef, SoftplusGradOp.OpDef, SqrtOp.OpDef, SqrtGradOp.OpDef,
		SinOp.OpDef, SinGradOp.OpDef, CosOp.OpDef, CosGradOp.OpDef, AbsOp.OpDef, AbsGradOp.OpDef,
		SumAxisOp.OpDef, BroadcastOp.OpDef, BroadcastGradOp.OpDef, ReshapeOp.OpDef, TransposeOp.OpDef,
		SliceOp.OpDef, PadOp.OpDef, ConcatOp.OpDef, BatchMatMulOp.OpDef,
	}
}
