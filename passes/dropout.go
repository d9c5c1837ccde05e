package passes

import (
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// DropoutInput is the input i32[2] that Dropout adds: the number of the step, and
// that of the batch's row that the first row of activations is; see
// ops.DropoutOp.
const DropoutInput = "dropout"

// DropoutOptions configures Dropout.
type DropoutOptions struct {
	P    float64 // 0: the pass does nothing
	Seed uint64
	// After lists the name endings of the weights that write into the residual
	// stream.
	After []string
	// Attention drops attention probabilities too.
	Attention bool
}

// Dropout drops results of embeddings and of the linear layers that write into the
// residual stream, and attention probabilities, as GPT-2 does there (Radford et al.
// 2019), of params for which want is true (nil: all); attention belongs to the param
// that makes its queries. A frozen teacher stays whole. It belongs to training steps
// only, and stands before BitLinears are taken apart.
func Dropout(o DropoutOptions, want func(param string) bool) Pass {
	return Pass{Name: "dropout", Run: func(g *graph.Graph) (*graph.Graph, error) {
		stream := 0
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if a, ok := ops.AttentionOp.Of(n); ok && o.Attention && o.P != 0 {
				if name := nearestParam(n.In[0]); want != nil && !want(name) {
					return nil, false
				}
				stream++
				in, at := rw.GetAll(n.In), rw.InputOnce(DropoutInput, graph.I32, graph.C(2))
				return ops.AttentionDropoutOp.Emit(ops.AttentionDropoutAttrs{Heads: a.Heads, KVHeads: a.KVHeads, Window: a.Window,
					P: o.P, Seed: int(o.Seed), Stream: stream}, in[0], in[1], in[2], at, in[3], in[4]), true
			}
			w := 1
			if n.Op == ops.EmbeddingOp.OpDef {
				w = 0
			} else if n.Op != bitlinear.Op.OpDef && n.Op != ops.MatMulOp.OpDef {
				return nil, false
			}
			if o.P == 0 || n.In[w].Op() != graph.ParamOp.OpDef {
				return nil, false
			}
			name := graph.SourceName(n.In[w].Node())
			writes := w == 0
			for _, end := range o.After {
				writes = writes || strings.HasSuffix(name, end)
			}
			if !writes || want != nil && !want(name) {
				return nil, false
			}
			stream++
			at := rw.InputOnce(DropoutInput, graph.I32, graph.C(2))
			return []graph.Value{ops.Dropout(rw.Copy(n)[0], at, ops.DropoutAttrs{P: o.P, Seed: int(o.Seed), Stream: stream})}, true
		})
	}}
}

// nearestParam is the name of the param that v is made with last, of those on the
// way back through first operands; empty, if there is none.
func nearestParam(v graph.Value) string {
	for {
		n := v.Node()
		for _, in := range n.In {
			if in.Op() == graph.ParamOp.OpDef {
				return graph.SourceName(in.Node())
			}
		}
		if len(n.In) == 0 {
			return ""
		}
		v = n.In[0]
	}
}
