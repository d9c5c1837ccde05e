package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// LambdaInput is the input f32[] of the WarmQuantize pass: how far quantization
// has set in, 0 not at all, 1 wholly.
const LambdaInput = "lambda"

// WarmQuantize blends the result of every fake quantizer with its operand, by an
// input of the step, so that quantization can set in gradually while a model is
// converted; see ops.BlendOp.
func WarmQuantize() Pass {
	return rewrite("warm-quantize", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.FakeQuantOp.OpDef && n.Op != ternary.FakeOp.OpDef {
			return nil, false
		}
		lambda := rw.InputOnce(LambdaInput, graph.F32)
		return []graph.Value{ops.Blend(rw.Get(n.In[0]), rw.Copy(n)[0], lambda)}, true
	})
}
