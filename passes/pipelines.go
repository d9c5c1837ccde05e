package passes

import (
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/collective"
)

// InferOptions configures the infer pipeline.
type InferOptions struct {
	Cache   Cache
	MaxRows int                     // most tokens whose logits a step returns
	Packed  func(param string) bool // see LowerBitLinear
	Fused   []*graph.OpDef          // fusions to try before the built-in ones
	Screen  Screen                  // of the output head
	// Shard spreads the model over ranks, if there are several.
	Shard collective.Attrs
}

// Infer is the pipeline from a declared model to the graph that is lowered for
// inference. See Order for why the passes stand in this order.
func Infer(o InferOptions) Pipeline {
	// Where attention is fused with what stands before it, the last layer's is computed for
	// all tokens like that of the others: one kernel, not ten, in a decode step, for one
	// attention more in a prompt.
	var whole []*graph.OpDef
	if slices.Contains(o.Fused, bitlinear.RoPEAttendOp.OpDef) {
		whole = append(whole, ops.CachedAttentionOp.OpDef)
	}
	p := Pipeline{
		KVCache(o.Cache),
		LastRow(o.MaxRows, whole...),
		ScreenHead(o.Screen),
		LowerBitLinear(o.Packed),
		CSE(),
	}
	if o.Shard.Ranks > 1 {
		p = append(p, Shard(o.Shard))
	}
	return append(p,
		MergeSiblings(),
		Fold(),
		Fuse(append(append([]*graph.OpDef(nil), o.Fused...), bitlinear.Fused()...)...),
		DCE(),
	)
}

// FusedFor returns the fusions that InferOptions.Fused should have for a device:
// those of bitlinear.Normed that claims reports it to have kernels for, behind
// those that they are made of.
func FusedFor(claims func(*graph.OpDef) bool) []*graph.OpDef {
	fused := []*graph.OpDef{bitlinear.SubLNQuantOp.OpDef, bitlinear.ReLU2GLUOp.OpDef, bitlinear.LinearAddOp.OpDef, bitlinear.RoPEAppendOp.OpDef}
	parts := len(fused)
	for _, op := range bitlinear.Normed() {
		if claims(op) {
			fused = append(fused, op)
		}
	}
	if len(fused) == parts {
		return nil
	}
	return fused
}

// TrainOptions configures the train pipeline.
type TrainOptions struct {
	AdamW AdamW
	Fused []*graph.OpDef // fusions to try
	// Plain trains without quantization: every BitLinear becomes an ordinary
	// linear layer. It is the twin that a ternary model is compared with.
	Plain bool
	// Warm lets quantization set in gradually; see WarmQuantize.
	Warm bool
	// Integer multiplies codes in the forward pass; see IntegerForward.
	Integer bool
	// Dropout drops activations; see Dropout.
	Dropout DropoutOptions
	// BF16 computes activations and their gradients in bf16; see Precision.
	BF16 bool
	Spread
}

// Spread says over how many micro-batches and ranks a training step is spread.
type Spread struct {
	// Accumulate splits a step into a program that adds a micro-batch's
	// gradients to states, of the Train pipeline, and one that applies them, by
	// Update.
	Accumulate bool
	// Ranks sums gradients over several processes, if there are any.
	Ranks collective.Attrs
	// Shard keeps only a rank's own part of the moments on it (ZeRO stage 1).
	Shard bool
	// Bucket is the least bytes that one exchange should carry; 0: 8 MiB.
	Bucket int
}

// weighed reports whether a loss is one share of several.
func (s Spread) weighed() bool { return s.Accumulate || s.Ranks.Ranks > 1 }

// update is the passes that follow gradients in a program that applies them.
func (s Spread) update(o AdamW) Pipeline {
	var p Pipeline
	if s.Ranks.Ranks > 1 {
		p = append(p, AllReduce(s, o.Want))
		if s.Shard {
			o.Shard = s
		}
	}
	return append(p, Optimizer(o), Fold(), CSE(), DCE())
}

// Train is the pipeline from a declared model with a loss to one graph that
// holds a whole training step: forward, backward, clipping and AdamW; or, with
// Accumulate, the part of it that each micro-batch runs.
func Train(o TrainOptions) Pipeline {
	quantize := InsertQuantize()
	if o.Plain {
		quantize = DropQuantize()
	}
	p := Pipeline{quantize, Inline(nil), FoldTransposes(), CSE()}
	if o.Dropout.P > 0 {
		p = append(Pipeline{Dropout(o.Dropout, o.AdamW.Want)}, p...)
	}
	if o.Warm {
		p = append(p, WarmQuantize())
	}
	if o.BF16 {
		p = append(p, Precision())
	}
	if o.weighed() {
		p = append(p, WeighLoss())
	}
	p = append(p, Grad(o.AdamW.Want))
	if o.Accumulate {
		p = append(p, Accumulate(o.AdamW.Want), Fold(), CSE(), DCE())
	} else {
		p = append(p, o.update(o.AdamW)...)
	}
	if slices.Contains(o.Fused, bitlinear.GLUSubLNGradOp.OpDef) {
		p = append(p, Regate())
	}
	if slices.Contains(o.Fused, ops.AdamWCastOp.OpDef) {
		p = append(p, GatherSquares(), DCE())
	}
	return append(p, Lowered(o.Integer, o.BF16, o.Fused...)...)
}

// Lowered is what follows the Train or Eval pipeline: IntegerForward, where the
// forward pass multiplies codes, and fusions, the given ones first. Norms and
// quantizers stay apart: it would save 0.3 % of a step, and hide a value that is
// not finite in a code, where a search for the first one does not see it.
func Lowered(integer, bf16 bool, fused ...*graph.OpDef) Pipeline {
	var p Pipeline
	fused = slices.Clone(fused)
	if bf16 {
		fused = append(fused, bitlinear.Casts()...)
	}
	if integer {
		p = append(p, IntegerForward())
		fused = append(fused, bitlinear.LinearAddOp.OpDef, bitlinear.IntLinearOp.OpDef)
	}
	if len(fused) > 0 {
		p = append(p, Fuse(fused...))
	}
	return p
}

// Eval is the pipeline for a forward pass in training form, such as a
// validation loss.
func Eval(plain bool) Pipeline {
	quantize := InsertQuantize()
	if plain {
		quantize = DropQuantize()
	}
	return Pipeline{quantize, Inline(nil), FoldTransposes(), CSE(), DCE()}
}

// Constraint says that one pass must come before another in every pipeline
// that has both.
type Constraint struct{ Before, After, Why string }

// Order lists the constraints between passes; a test holds the pipelines to it.
var Order = []Constraint{
	{"kv-cache", "last-row", "only the cached attention is row-wise, so the tail of the last layer can shrink to the wanted rows"},
	{"last-row", "screen-head", "it splits the rows that last-row has picked, behind everything they share"},
	{"screen-head", "cse", "both heads pick rows of one value and read one table"},
	{"last-row", "lower-bitlinear", "it moves through bitlinear as one op instead of three with an integer middle"},
	{"lower-bitlinear", "cse", "projections of one input each quantize it; cse makes them share"},
	{"cse", "merge-siblings", "siblings are recognised by their common quantized input"},
	{"kv-cache", "shard", "the cache is cut by heads, as attention is"},
	{"lower-bitlinear", "shard", "weights are cut behind their quantizers, so that the scale is that of the whole"},
	{"cse", "shard", "one gathering serves all that read a value"},
	{"shard", "merge-siblings", "what is merged is each rank's own part"},
	{"merge-siblings", "fuse", "fuse would bind each projection alone first"},
	{"dropout", "insert-quantize", "it knows a BitLinear by its weight, before the weight has a quantizer"},
	{"insert-quantize", "inline", "a bitlinear is inlined too, but inside a pass that dumps can show"},
	{"inline", "fold-transposes", "the transposes stand before quantizers inside a bitlinear"},
	{"fold-transposes", "grad", "a gradient then has the form that its param is stored in"},
	{"fold-transposes", "warm-quantize", "transposes move through a quantizer, not through a blend"},
	{"cse", "warm-quantize", "projections that share a quantizer then share its blend"},
	{"warm-quantize", "grad", "a blend has a gradient of its own"},
	{"inline", "grad", "fused ops have no gradient of their own"},
	{"inline", "precision", "what a fused op's body computes in is decided too"},
	{"fold-transposes", "precision", "a cast would stand between a transpose and its matmul"},
	{"warm-quantize", "precision", "weights are blended in f32, and cast behind it"},
	{"cse", "precision", "a shared quantizer is then cast once"},
	{"precision", "grad", "gradients are cast where their values are"},
	{"precision", "integer-forward", "products of codes have no operand to cast"},
	{"weigh-loss", "grad", "gradients are those of the weighed loss"},
	{"grad", "accumulate", "it consumes the gradients among the outputs"},
	{"grad", "all-reduce", "it sums the gradients among the outputs"},
	{"all-reduce", "optimizer", "clipping and moments are those of the summed gradients"},
	{"grad", "optimizer", "the optimizer consumes the gradients among the outputs"},
	{"grad", "integer-forward", "products of codes have no gradient"},
	{"fold-transposes", "integer-forward", "it knows one form of a product, that in which weights are stored"},
	{"integer-forward", "fuse", "the products of codes are what is fused with their scales and residuals"},
	{"optimizer", "gather-squares", "it gathers what the optimizer clips by"},
	{"gather-squares", "fuse", "a cast that only an update reads is fused with it"},
	{"grad", "regate", "it copies what gradients read"},
	{"cse", "regate", "equal nodes would be merged again"},
	{"regate", "fuse", "the values inside a fused op must not escape"},
	{"grad", "fuse", "a fused op could not be differentiated"},
	{"optimizer", "dce", "forward values that no gradient needs are dropped only when it is known what is needed"},
}
