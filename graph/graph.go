package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Graph is a finished, immutable graph. Nodes are in a topological order.
type Graph struct {
	Name  string
	Syms  []Sym
	Nodes []*Node
	Outs  []Value
}

// Inputs returns the input nodes in declaration order.
func (g *Graph) Inputs() []*Node { return g.byOp(InputOp.OpDef) }

// Params returns the param nodes in declaration order.
func (g *Graph) Params() []*Node { return g.byOp(ParamOp.OpDef) }

// States returns the state nodes in declaration order.
func (g *Graph) States() []*Node { return g.byOp(StateOp.OpDef) }

func (g *Graph) byOp(op *OpDef) []*Node {
	var out []*Node
	for _, n := range g.Nodes {
		if n.Op == op {
			out = append(out, n)
		}
	}
	return out
}

// Sym returns the declared symbol of that name.
func (g *Graph) Sym(name string) (Sym, bool) {
	for _, s := range g.Syms {
		if s.Name == name {
			return s, true
		}
	}
	return Sym{}, false
}

// Uses maps every value to the nodes that read it, in order; a node that reads
// a value twice is listed twice.
func (g *Graph) Uses() map[Value][]*Node {
	uses := map[Value][]*Node{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			uses[v] = append(uses[v], n)
		}
	}
	return uses
}

// Prep returns the nodes that depend on params and constants only, and whose
// results have constant extents. They are computed once, when weights are loaded.
func (g *Graph) Prep() map[*Node]bool {
	prep := map[*Node]bool{}
	for _, n := range g.Nodes {
		switch n.Op {
		case ParamOp.OpDef, ConstOp.OpDef:
			prep[n] = true
		case InputOp.OpDef, StateOp.OpDef:
		default:
			ok := len(n.In) > 0
			for _, v := range n.In {
				ok = ok && prep[v.node]
			}
			for _, t := range n.Out {
				for _, d := range t.Shape {
					_, constant := d.Const()
					ok = ok && constant
				}
			}
			if ok {
				prep[n] = true
			}
		}
	}
	return prep
}

// FinalState returns the last value of a state: the state itself, or the result
// of its last writer.
func (g *Graph) FinalState(state *Node) Value {
	v := state.Result(0)
	for _, n := range g.Nodes {
		for _, u := range n.Op.Updates {
			if u.In < len(n.In) && n.In[u.In] == v {
				v = n.Result(u.Out)
			}
		}
	}
	return v
}

// Filter returns the part of g whose scope is the given one or lies inside it,
// as a graph of its own: values that enter become inputs, values that leave
// become outputs.
func (g *Graph) Filter(scope string) (*Graph, error) {
	in := func(n *Node) bool {
		return n.Scope == scope || len(n.Scope) > len(scope) && n.Scope[:len(scope)] == scope && n.Scope[len(scope)] == '.'
	}
	b := NewBuilder(strings.Map(func(r rune) rune {
		if r < 0x80 && isNameByte(byte(r)) {
			return r
		}
		return '_'
	}, scope))
	b.syms = slices.Clone(g.Syms)
	m := map[Value]Value{}
	names := g.valueNames()
	found := false
	for _, n := range g.Nodes {
		if !in(n) || n.Op == InputOp.OpDef {
			continue
		}
		found = true
		args := make([]Value, len(n.In))
		for i, v := range n.In {
			if _, ok := m[v]; !ok {
				switch {
				case IsSource(v.node.Op) && v.node.Op != InputOp.OpDef:
					copyNode(b, v.node, nil, m)
				case slices.ContainsFunc(n.Op.Updates, func(u Update) bool { return u.In == i }):
					// A state that was updated outside before: a state here too.
					m[v] = b.State(names[v], v.Type().Elem, v.Type().Shape...)
				default:
					m[v] = b.Input(names[v], v.Type().Elem, v.Type().Shape...)
				}
			}
			args[i] = m[v]
		}
		if _, ok := m[n.Result(0)]; !ok {
			copyNode(b, n, args, m)
		}
	}
	if !found {
		return nil, fmt.Errorf("graph %s has no scope %q", g.Name, scope)
	}
	var outs []Value
	seen := map[Value]bool{}
	add := func(v Value) {
		if w, ok := m[v]; ok && in(v.node) && !seen[v] && !IsSource(v.node.Op) {
			seen[v] = true
			outs = append(outs, w)
		}
	}
	for _, n := range g.Nodes {
		if !in(n) {
			for _, v := range n.In {
				add(v)
			}
		}
	}
	for _, v := range g.Outs {
		add(v)
	}
	return b.Finish(outs...)
}

// copyNode adds a copy of n with operands args to b and records its results.
func copyNode(b *Builder, n *Node, args []Value, m map[Value]Value) []Value {
	c := &Node{Op: n.Op, Attrs: n.Attrs, In: args, Out: slices.Clone(n.Out), Pos: n.Pos, Scope: n.Scope,
		names: append([]string(nil), n.names...), owner: b}
	b.nodes = append(b.nodes, c)
	if IsSource(n.Op) && n.Op != ConstOp.OpDef {
		b.sources[n.Op.Name+" "+SourceName(n)] = c.Result(0)
	}
	for i := range n.Out {
		m[n.Result(i)] = c.Result(i)
	}
	return c.Results()
}
