package graph

import (
	"fmt"
	"slices"
)

// Rewriter copies a graph into a new builder while a callback replaces parts of
// it. Values are copied on demand, so a replacement may use any value of the
// old graph that does not depend on what it replaces.
type Rewriter struct {
	B   *Builder
	old *Graph
	fn  func(rw *Rewriter, n *Node) (out []Value, done bool)
	m   map[Value]Value

	visited map[*Node]bool
}

// Rewrite visits every node of g in order. fn returns done = false to copy the
// node, or done = true with the replacements of its results; results that get
// none (because Set provided them, or because nothing needs them any more) may
// be left out; using such a result is reported as a mistake. fn is called once
// for a node. Nodes that end up unused are dropped. New nodes inherit the
// position and scope of the node they replace.
func Rewrite(g *Graph, fn func(rw *Rewriter, n *Node) (out []Value, done bool)) (*Graph, error) {
	rw := &Rewriter{B: NewBuilder(g.Name), old: g, fn: fn, m: map[Value]Value{}, visited: map[*Node]bool{}}
	rw.B.syms = slices.Clone(g.Syms)
	for _, n := range g.Nodes {
		rw.visit(n)
	}
	outs := make([]Value, len(g.Outs))
	for i, v := range g.Outs {
		outs[i] = rw.Get(v)
	}
	return rw.B.Finish(outs...)
}

// Get returns the new value for an old one, rewriting its producer if that was
// not done yet.
func (rw *Rewriter) Get(v Value) Value {
	if v.node == nil {
		return Value{}
	}
	if _, ok := rw.m[v]; !ok {
		rw.visit(v.node)
	}
	new, ok := rw.m[v]
	if !ok {
		// Left out by the callback, or asked for while it is being made.
		rw.At(v.node, func() {
			new = rw.B.fail(v.node.Op, fmt.Errorf("result %d was rewritten away, but something still needs it", v.res))
		})
		rw.m[v] = new
	}
	return new
}

// GetAll is Get for several values.
func (rw *Rewriter) GetAll(vs []Value) []Value {
	out := make([]Value, len(vs))
	for i, v := range vs {
		out[i] = rw.Get(v)
	}
	return out
}

// Set declares the replacement of an old value outside its node's own visit,
// for rewrites that replace several nodes at once.
func (rw *Rewriter) Set(old, new Value) {
	if h := old.Hint(); h != "" && new.Hint() == "" {
		rw.B.Name(new, h)
	}
	rw.m[old] = new
}

// Done reports whether the value has a replacement already.
func (rw *Rewriter) Done(v Value) bool { _, ok := rw.m[v]; return ok }

// At runs f with the position and scope of n, for nodes made on n's behalf.
func (rw *Rewriter) At(n *Node, f func()) {
	pos, scope := rw.B.pos, rw.B.scope
	rw.B.pos, rw.B.scope = n.Pos, n.Scope
	if rw.B.pos == nil {
		rw.B.pos = []Pos{}
	}
	f()
	rw.B.pos, rw.B.scope = pos, scope
}

// Merge is At for a node that stands for several: it carries all positions.
func (rw *Rewriter) Merge(ns []*Node, f func()) {
	m := Node{Scope: ns[0].Scope}
	seen := map[Pos]bool{}
	for _, n := range ns {
		for _, p := range n.Pos {
			if !seen[p] {
				seen[p] = true
				m.Pos = append(m.Pos, p)
			}
		}
	}
	rw.At(&m, f)
}

// Copy copies n with its rewritten operands; result types are inferred again if
// an operand's type changed.
func (rw *Rewriter) Copy(n *Node) []Value {
	if IsSource(n.Op) && n.Op != ConstOp.OpDef {
		// A replacement may have declared it already.
		if v, ok := rw.B.sources[n.Op.Name+" "+SourceName(n)]; ok && v.Type().Equal(n.Out[0]) {
			return []Value{v}
		}
	}
	in := rw.GetAll(n.In)
	same := true
	for i, v := range in {
		same = same && v.Valid() && v.Type().Equal(n.In[i].Type())
	}
	if same {
		return copyNode(rw.B, n, in, map[Value]Value{})
	}
	var out []Value
	rw.At(n, func() { out = rw.B.Emit(n.Op, n.Attrs, in...) })
	for i, v := range out {
		if v.Valid() && i < len(n.Out) {
			v.node.Out[i].Layout = n.Out[i].Layout
		}
	}
	return out
}

func (rw *Rewriter) visit(n *Node) {
	done := true
	for i := range n.Out {
		done = done && rw.Done(n.Result(i))
	}
	if done || rw.visited[n] {
		return
	}
	rw.visited[n] = true
	var out []Value
	rw.At(n, func() {
		var done bool
		if out, done = rw.fn(rw, n); !done {
			out = rw.Copy(n)
		}
	})
	for i, v := range out {
		if i < len(n.Out) {
			rw.Set(n.Result(i), v)
		}
	}
}

// InputOnce declares an input on first use and returns the same value after.
func (rw *Rewriter) InputOnce(name string, elem DType, dims ...Dim) Value {
	if v, ok := rw.B.sources[InputOp.Name+" "+name]; ok && v.Type().Equal(T(elem, dims...)) {
		return v
	}
	var v Value
	rw.At(&Node{}, func() { v = rw.B.Input(name, elem, dims...) })
	return v
}

// Reopen copies g into a new builder, so that nodes can be added to it. The map
// leads from g's values to the copies.
func Reopen(g *Graph) (*Builder, map[Value]Value) {
	b := NewBuilder(g.Name)
	b.syms = slices.Clone(g.Syms)
	m := map[Value]Value{}
	for _, n := range g.Nodes {
		in := make([]Value, len(n.In))
		for i, v := range n.In {
			in[i] = m[v]
		}
		copyNode(b, n, in, m)
	}
	return b, m
}
