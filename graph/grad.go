package graph

import (
	"errors"
	"fmt"
)

// GradCtx is what an op's gradient rule sees: the node being differentiated and
// the gradients of its results. A result that does not influence the loss has
// an invalid gradient.
type GradCtx struct {
	B    *Builder
	Node *Node
	In   []Value
	Out  []Value
	DOut []Value
}

// Self emits the op being differentiated again, with other attributes and
// operands: many ops are their own gradient. (Naming the op inside its own
// definition would be an initialisation cycle.) It returns the first result.
func (c *GradCtx) Self(attrs any, in ...Value) Value {
	return c.B.Emit(c.Node.Op, attrs, in...)[0]
}

// ErrNoGrad is wrapped by errors about ops that declare no gradient.
var ErrNoGrad = errors.New("op has no gradient")

// Gradients extends b with the reverse-mode derivative of the scalar f32 value
// y and returns dy/dw for every w of wrt; an invalid Value means that y does
// not depend on it. Contributions are summed with add. Fused ops must have been
// inlined, or declare a gradient.
func Gradients(b *Builder, y Value, wrt []Value, add func(a, b Value) Value) ([]Value, error) {
	if !y.Valid() || y.node.owner != b {
		return nil, errors.New("the loss does not belong to this graph")
	}
	if t := y.Type(); t.Elem != F32 || t.Rank() != 0 {
		return nil, fmt.Errorf("the loss is %s, want the scalar f32[]", t)
	}
	// Only values that depend on wrt need a gradient, and only nodes that read
	// such values are differentiated.
	needs := map[Value]bool{}
	for i, w := range wrt {
		if !w.Valid() || w.node.owner != b {
			return nil, fmt.Errorf("value %d to differentiate with respect to does not belong to this graph", i)
		}
		needs[w] = true
	}
	through := map[*Node]bool{}
	nodes := b.nodes
	for _, n := range nodes {
		for _, v := range n.In {
			through[n] = through[n] || needs[v]
		}
		if through[n] {
			for i := range n.Out {
				needs[n.Result(i)] = true
			}
		}
	}
	d := map[Value]Value{y: b.ConstF32(1)}
	scope, pos := b.scope, b.pos
	defer func() { b.scope, b.pos = scope, pos }()
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		if !through[n] {
			continue
		}
		c := &GradCtx{B: b, Node: n, In: n.In, Out: n.Results(), DOut: make([]Value, len(n.Out))}
		used := false
		for j, v := range c.Out {
			if g, ok := d[v]; ok {
				c.DOut[j], used = g, true
			}
		}
		if !used {
			continue
		}
		if n.Op.grad == nil {
			return nil, fmt.Errorf("%s: %w", n.Where(), ErrNoGrad)
		}
		b.scope, b.pos = gradScope(n.Scope), n.Pos
		if b.pos == nil {
			b.pos = []Pos{} // not the caller's line
		}
		gs, err := n.Op.grad(n.Attrs, c)
		if err != nil {
			return nil, fmt.Errorf("%s: gradient: %w", n.Where(), err)
		}
		if len(gs) > len(n.In) {
			return nil, fmt.Errorf("%s: gradient rule gives %d values for %d operands", n.Where(), len(gs), len(n.In))
		}
		for j, g := range gs {
			v := n.In[j]
			if !g.Valid() || !needs[v] {
				continue
			}
			if !g.Type().Equal(v.Type()) {
				return nil, fmt.Errorf("%s: gradient of operand %s is %s, want %s", n.Where(), n.Op.operand(j), g.Type(), v.Type())
			}
			if old, ok := d[v]; ok {
				g = add(old, g)
			}
			d[v] = g
		}
		if err := b.Err(); err != nil {
			return nil, err
		}
	}
	out := make([]Value, len(wrt))
	for i, w := range wrt {
		out[i] = d[w]
	}
	return out, nil
}

// gradScope keeps the backward half of a scope apart from the forward half.
func gradScope(s string) string {
	if s == "" {
		return "grad"
	}
	return "grad." + s
}
