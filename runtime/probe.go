package runtime

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// probes are the symbol values at which kernels are compared: the bounds, where
// decoding and the largest prefill live, and sizes between them, because
// kernels accept ranges. Symbols grow together; most nodes depend on one.
func (p *Program) probes() []map[string]int {
	if len(p.syms) == 0 {
		return []map[string]int{p.fixed}
	}
	top, low := 0, p.syms[0].Min
	for _, s := range p.syms {
		top, low = max(top, s.Max), min(low, s.Min)
	}
	sizes := []int{low, low + 1, 3, 5, 7}
	for n := 1; n < top; n *= 2 {
		sizes = append(sizes, n)
	}
	sizes = append(sizes, top)
	slices.Sort(sizes)
	var out []map[string]int
	last := ""
	for _, n := range sizes {
		env := map[string]int{}
		for k, v := range p.fixed {
			env[k] = v
		}
		for _, s := range p.syms {
			env[s.Name] = min(max(n, s.Min), s.Max)
		}
		if key := fmt.Sprint(env); key != last {
			out = append(out, env)
			last = key
		}
	}
	return out
}

// callAt describes node n with the extents of env.
func callAt(n *graph.Node, env map[string]int) (*devices.Call, error) {
	c := &devices.Call{Op: n.Op, Attrs: n.Attrs, Where: n.Where()}
	add := func(dst *[]devices.Operand, t graph.Type) error {
		dims, err := t.Shape.Eval(env)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Where(), err)
		}
		if _, err := graph.Count(dims); err != nil {
			return fmt.Errorf("%s: %w", n.Where(), err)
		}
		*dst = append(*dst, devices.Operand{Elem: t.Elem, Dims: dims})
		return nil
	}
	for _, v := range n.In {
		if err := add(&c.In, v.Type()); err != nil {
			return nil, err
		}
	}
	for _, t := range n.Out {
		if err := add(&c.Out, t); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// empty reports whether all results of the call are empty, so that there is
// nothing to run.
func empty(c *devices.Call) bool {
	for _, o := range c.Out {
		if o.Len() > 0 {
			return false
		}
	}
	return true
}

// symbolic reports whether the node's extents depend on symbols.
func symbolic(n *graph.Node) bool {
	dep := func(t graph.Type) bool {
		return slices.ContainsFunc(t.Shape, func(d graph.Dim) bool { return d.Sym != "" })
	}
	return slices.ContainsFunc(n.In, func(v graph.Value) bool { return dep(v.Type()) }) || slices.ContainsFunc(n.Out, dep)
}
