package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// FoldTransposes reads matrices transposed inside matmuls instead of transposing
// them before. It moves transposes behind the fake quantizer of weights, which
// has one scale for the whole matrix (groups have rows), and cancels pairs.
func FoldTransposes() Pass {
	return rewrite("fold-transposes", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		switch n.Op {
		case ops.MatMulOp.OpDef:
			a, _ := ops.MatMulOp.Of(n)
			x, tx := untransposed(rw.Get(n.In[0]))
			w, tw := untransposed(rw.Get(n.In[1]))
			if !tx && !tw {
				return nil, false
			}
			return []graph.Value{ops.MatMul(x, w, a.TA != tx, a.TB != tw)}, true
		case ternary.FakeOp.OpDef:
			w, ok := untransposed(rw.Get(n.In[0]))
			if a, _ := ternary.FakeOp.Of(n); !ok || a.Group != 0 {
				return nil, false
			}
			return []graph.Value{ops.Transpose(rw.B.Emit(n.Op, n.Attrs, w)[0])}, true
		case ops.TransposeOp.OpDef:
			x, ok := untransposed(rw.Get(n.In[0]))
			if a, _ := ops.TransposeOp.Of(n); !ok || !a.IsMatrix() {
				return nil, false
			}
			return []graph.Value{x}, true
		}
		return nil, false
	})
}

// untransposed is the matrix that v is the transpose of, or v itself.
func untransposed(v graph.Value) (graph.Value, bool) {
	if a, ok := ops.TransposeOp.Of(v.Node()); ok && a.IsMatrix() {
		return v.Node().In[0], true
	}
	return v, false
}
