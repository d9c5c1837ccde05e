package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// GatherSquares lets clipping read the gradients themselves, in the type that the
// backward pass leaves them in, where it would add up a sum of squares for each:
// one kernel in place of as many as there are params. The pass stands behind the
// optimizer.
func GatherSquares() Pass {
	return rewrite("gather-squares", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		a, ok := ops.ClipOp.Of(n)
		if !ok {
			return nil, false
		}
		grads := make([]graph.Value, len(n.In))
		for i, v := range n.In {
			if v.Op() != ops.SqSumOp.OpDef {
				return nil, false
			}
			g := v.Node().In[0]
			if narrow := uncast(g); narrow.Type().Elem == graph.BF16 {
				g = narrow
			}
			grads[i] = rw.Get(g)
		}
		return ops.ClipGradsOp.Emit(a, grads...), true
	})
}
