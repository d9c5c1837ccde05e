package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/ops/ternary"
)

// Shard spreads an inference graph over ranks (tensor parallelism, after Shoeybi
// et al. 2019). Each rank has an equal part of the rows of every ternary weight
// and so of the elements of the product; what works on each element or each head
// alone, attention and its cache among it, goes on with that part. Where whole
// rows are needed, for a norm, a quantizer or a residual, the parts are gathered.
//
// Every op gives each element of its result the same bits on any number of ranks.
// Splitting every other
// weight by columns, as is usual, would save one gathering in two by a sum of
// products; but in a BitNet a norm and the scale of the row stand between, which
// need all of the row first, so that a rank would exchange a sum of squares, a
// largest magnitude and then int32 sums twice the size of what is gathered here,
// and the sum of squares would depend on the number of ranks.
func Shard(a collective.Attrs) Pass {
	return Pass{"shard", func(g *graph.Graph) (*graph.Graph, error) {
		s := sharding{a: a, uses: g.Uses(), part: map[graph.Value]graph.Value{}}
		for i, v := range g.Outs {
			// One value for each token has no columns.
			if v.Type().Rank() < 2 {
				continue
			}
			if _, ok := v.Type().Last().Const(); !ok {
				return nil, fmt.Errorf("output %d is %s", i, v.Type())
			}
			s.uses[v] = append(s.uses[v], nil) // read whole, by nobody in the graph
		}
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if s.node(rw, n) {
				return nil, true
			}
			for _, v := range n.In {
				s.whole(rw, v)
			}
			return nil, false
		})
	}}
}

// sharding is a rewrite under way.
type sharding struct {
	a    collective.Attrs
	uses map[graph.Value][]*graph.Node
	part map[graph.Value]graph.Value // this rank's part of an old value's columns
}

// node makes n's results in parts, if that is possible.
func (s *sharding) node(rw *graph.Rewriter, n *graph.Node) bool {
	var out []graph.Value
	switch n.Op {
	case ternary.MatMulOp.OpDef:
		if s.product(n) {
			return true // made where it is scaled
		}
	case bitlinear.RescaleOp.OpDef:
		out = s.linear(rw, n)
	case ops.AddOp.OpDef, ops.MulOp.OpDef, ops.ReLU2Op.OpDef, ops.SiLUOp.OpDef:
		if in := s.parts(n.In...); in != nil {
			rw.At(n, func() { out = rw.B.Emit(n.Op, n.Attrs, in...) })
		}
	case ops.RoPEOp.OpDef:
		out = s.rope(rw, n)
	case graph.StateOp.OpDef:
		if s.cache(n.Result(0)) {
			return true // declared where it is appended to
		}
	case ops.KVAppendOp.OpDef, ops.KVAppendCodesOp.OpDef:
		return s.done(rw, n, s.append(rw, n), false)
	case ops.CachedAttentionOp.OpDef, ops.CachedAttentionCodesOp.OpDef:
		out = s.attention(rw, n)
	case ops.RowsOp.OpDef:
		if p, ok := s.part[n.In[0]]; ok {
			idx := rw.Get(n.In[1])
			rw.At(n, func() { out = rw.B.Emit(n.Op, n.Attrs, p, idx) })
		}
	}
	return s.done(rw, n, out, true)
}

// done records parts of n's results, and gathers those that somebody outside the
// graph reads.
func (s *sharding) done(rw *graph.Rewriter, n *graph.Node, out []graph.Value, columns bool) bool {
	for i, v := range out {
		s.part[n.Result(i)] = v
		for _, u := range s.uses[n.Result(i)] {
			if u == nil && columns {
				s.whole(rw, n.Result(i))
			}
		}
	}
	return out != nil
}

// whole gathers the parts of an old value.
func (s *sharding) whole(rw *graph.Rewriter, v graph.Value) {
	if p, ok := s.part[v]; ok && !rw.Done(v) {
		rw.At(v.Node(), func() { rw.Set(v, collective.GatherColumns(p, s.a.Ranks)) })
	}
}

// parts are the parts of values; nil if one has none.
func (s *sharding) parts(vs ...graph.Value) []graph.Value {
	out := make([]graph.Value, len(vs))
	for i, v := range vs {
		p, ok := s.part[v]
		if !ok {
			return nil
		}
		out[i] = p
	}
	return out
}

// product reports whether an integer product can be made in parts: equal ones,
// and all its readers scale it.
func (s *sharding) product(n *graph.Node) bool {
	rows, ok := n.In[1].Dim(0).Const()
	if !ok || rows%s.a.Ranks != 0 {
		return false
	}
	for _, u := range s.uses[n.Result(0)] {
		if u == nil || u.Op != bitlinear.RescaleOp.OpDef || u.In[0] != n.Result(0) {
			return false
		}
	}
	return true
}

// linear is a product and its scaling.
func (s *sharding) linear(rw *graph.Rewriter, n *graph.Node) (out []graph.Value) {
	acc := n.In[0].Node()
	if acc == nil || acc.Op != ternary.MatMulOp.OpDef || !s.product(acc) {
		return nil
	}
	for _, v := range acc.In {
		s.whole(rw, v)
	}
	in, scale := rw.GetAll(acc.In), rw.GetAll(n.In[1:])
	rows, _ := acc.In[1].Dim(0).Const()
	rows /= s.a.Ranks
	var y graph.Value
	rw.At(acc, func() {
		y = ternary.MatMul(in[0], ternary.Slice(in[1], s.a.Rank*rows, (s.a.Rank+1)*rows))
	})
	rw.At(n, func() { out = []graph.Value{bitlinear.Rescale(y, scale[0], scale[1])} })
	return out
}

// rope turns whole heads.
func (s *sharding) rope(rw *graph.Rewriter, n *graph.Node) (out []graph.Value) {
	a, _ := ops.RoPEOp.Of(n)
	p, ok := s.part[n.In[0]]
	if !ok {
		return nil
	}
	if _, ok := p.Dim(1).Div(a.HeadDim); !ok {
		return nil
	}
	rw.At(n, func() { out = []graph.Value{ops.RoPEOp.One(a, p, rw.Get(n.In[1]))} })
	return out
}

// cache reports whether v is a state that one append alone uses.
func (s *sharding) cache(v graph.Value) bool {
	u := s.uses[v]
	return v.Op() == graph.StateOp.OpDef && len(u) == 1 && u[0] != nil && states(u[0].Op) > 0
}

// states is how many states an append writes and an attention reads.
func states(op *graph.OpDef) int {
	switch op {
	case ops.KVAppendOp.OpDef, ops.CachedAttentionOp.OpDef:
		return 2
	case ops.KVAppendCodesOp.OpDef, ops.CachedAttentionCodesOp.OpDef:
		return 4
	}
	return 0
}

// append is for a cache of this rank's heads alone. All that read the cache must
// be able to do with that.
func (s *sharding) append(rw *graph.Rewriter, n *graph.Node) (out []graph.Value) {
	k := states(n.Op)
	in := s.parts(n.In[k], n.In[k+1])
	for i := range k {
		if !s.cache(n.In[i]) {
			in = nil
		}
		for _, u := range s.uses[n.Result(i)] {
			if u == nil || s.heads(u) == nil {
				in = nil
			}
		}
	}
	states := make([]graph.Value, k)
	for i := range states {
		c := n.In[i]
		if !s.cache(c) {
			continue
		}
		t := c.Type()
		width := t.Shape[2]
		if in != nil {
			width, _ = width.Div(s.a.Ranks) // heads are shared equally, see heads
		}
		rw.At(c.Node(), func() {
			states[i] = rw.B.State(graph.SourceName(c.Node()), t.Elem, t.Shape[0], t.Shape[1], width)
		})
		if in == nil {
			rw.Set(c, states[i])
		}
	}
	if in == nil {
		return nil
	}
	rest := rw.GetAll(n.In[k+2:])
	rw.At(n, func() { out = rw.B.Emit(n.Op, n.Attrs, append(append(states, in...), rest...)...) })
	return out
}

// heads is the attributes of an attention over this rank's heads; nil if they
// cannot be shared equally.
func (s *sharding) heads(n *graph.Node) *ops.AttentionAttrs {
	a, ok := n.Attrs.(ops.AttentionAttrs)
	if !ok || states(n.Op) == 0 || a.Heads%s.a.Ranks != 0 || a.KVHeads%s.a.Ranks != 0 {
		return nil
	}
	a.Heads, a.KVHeads = a.Heads/s.a.Ranks, a.KVHeads/s.a.Ranks
	return &a
}

func (s *sharding) attention(rw *graph.Rewriter, n *graph.Node) (out []graph.Value) {
	k := states(n.Op)
	cache, a := s.parts(n.In[1:1+k]...), s.heads(n)
	if cache == nil {
		return nil
	}
	q, ok := s.part[n.In[0]]
	rest := rw.GetAll(n.In[1+k:])
	rw.At(n, func() {
		if !ok {
			width, _ := n.In[0].Dim(1).Const()
			width /= s.a.Ranks
			q = ops.Slice(rw.Get(n.In[0]), 1, s.a.Rank*width, (s.a.Rank+1)*width)
		}
		out = rw.B.Emit(n.Op, *a, append(append([]graph.Value{q}, cache...), rest...)...)
	})
	return out
}
