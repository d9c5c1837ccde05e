package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// CSE merges nodes that apply the same op with the same attributes to the same
// operands. Ops that update state are left alone.
func CSE() Pass {
	return Pass{"cse", func(g *graph.Graph) (*graph.Graph, error) {
		type key struct {
			op    *graph.OpDef
			attrs any
			in    string
			typ   string
		}
		seen := map[key][]graph.Value{}
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if len(n.Op.Updates) > 0 || graph.IsSource(n.Op) && n.Op != graph.ConstOp.OpDef {
				return nil, false
			}
			k := key{op: n.Op, attrs: n.Attrs, typ: fmt.Sprint(n.Out)}
			for _, v := range rw.GetAll(n.In) {
				k.in += fmt.Sprintf("%p.%d ", v.Node(), v.Index())
			}
			if old, ok := seen[k]; ok {
				return old, true
			}
			seen[k] = rw.Copy(n)
			return seen[k], true
		})
	}}
}

// Fold computes nodes whose operands are all constants, if their results are
// small enough to be constants themselves.
func Fold() Pass {
	return rewrite("fold", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if len(n.In) == 0 || !n.Op.HasRef() || len(n.Op.Updates) > 0 {
			return nil, false
		}
		in := make([]graph.Tensor, len(n.In))
		for i, v := range rw.GetAll(n.In) {
			t, ok := graph.ConstTensor(v.Node())
			if !ok {
				return nil, false
			}
			in[i] = t
		}
		out := make([]graph.Tensor, len(n.Out))
		for i, t := range n.Out {
			dims, err := t.Shape.Eval(nil)
			if err != nil {
				return nil, false
			}
			if c, err := graph.Count(dims); err != nil || c > graph.MaxConstElements {
				return nil, false
			}
			out[i] = graph.NewTensor(t.Elem, dims...)
		}
		if err := n.Op.Run(n.Attrs, in, out); err != nil {
			return nil, false // it fails again, with a position, when it is run
		}
		vals := make([]graph.Value, len(out))
		for i, t := range out {
			vals[i] = rw.B.Const(t)
		}
		return vals, true
	})
}
