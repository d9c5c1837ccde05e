package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Regate gives gradients their own copies of gated units, relu2(gate)·up, and of
// their rectifiers, where the forward pass has made them. Both passes can then be
// fused whole, and memory holds gate and up alone: on a device that waits for
// memory, three products more cost less than reading them.
func Regate() Pass {
	return Pass{"regate", func(g *graph.Graph) (*graph.Graph, error) {
		uses := g.Uses()
		outs := map[graph.Value]bool{}
		for _, v := range g.Outs {
			outs[v] = true
		}
		// A unit is a product of a rectifier whose gradient is taken too.
		again := map[graph.Value]bool{}
		for _, n := range g.Nodes {
			if n.Op != ops.ReLU2Op.OpDef || outs[n.Result(0)] {
				continue
			}
			backward := false
			for _, u := range uses[n.In[0]] {
				backward = backward || u.Op == ops.ReLU2GradOp.OpDef
			}
			for _, u := range uses[n.Result(0)] {
				if !backward || u.Op != ops.MulOp.OpDef || len(u.In[0].Type().Shape) != len(u.In[1].Type().Shape) || !feedsNorm(u, uses) || outs[u.Result(0)] {
					continue
				}
				again[n.Result(0)], again[u.Result(0)] = true, true
			}
		}
		copies := map[graph.Value]graph.Value{}
		var copied func(rw *graph.Rewriter, v graph.Value) graph.Value
		copied = func(rw *graph.Rewriter, v graph.Value) graph.Value {
			if !again[v] {
				return rw.Get(v)
			}
			if c := copies[v]; c.Valid() {
				return c
			}
			n := v.Node()
			in := make([]graph.Value, len(n.In))
			for i, x := range n.In {
				in[i] = copied(rw, x)
			}
			copies[v] = rw.B.Emit(n.Op, n.Attrs, in...)[0]
			return copies[v]
		}
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			forward := again[n.Result(0)] || n.Op == ops.RMSNormOp.OpDef
			some := false
			for _, v := range n.In {
				some = some || again[v]
			}
			if forward || !some {
				return nil, false
			}
			in := make([]graph.Value, len(n.In))
			for i, v := range n.In {
				in[i] = copied(rw, v)
			}
			return rw.B.Emit(n.Op, n.Attrs, in...), true
		})
	}}
}

// feedsNorm reports whether a norm reads the product, and its gradient too.
func feedsNorm(n *graph.Node, uses map[graph.Value][]*graph.Node) bool {
	forward, backward := false, false
	for _, u := range uses[n.Result(0)] {
		forward = forward || u.Op == ops.RMSNormOp.OpDef
		backward = backward || u.Op == ops.RMSNormGradOp.OpDef
	}
	return forward && backward
}
