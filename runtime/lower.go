package runtime

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// kind tells where a value's memory comes from.
type kind uint8

const (
	inArena kind = iota // made by every step
	inInput             // given for every step; also in the arena
	atLoad              // computed once, when weights are loaded
	inState             // lives across steps
)

// value is one value of the graph, by dense index.
type value struct {
	v    graph.Value
	kind kind
	root int // the value whose memory this one is: itself, or the operand it views or updates
}

// stored names one form of a weight in persistent memory. A plain form belongs
// to the value's root, a packed one to the value itself.
type stored struct {
	val    int
	layout graph.Layout
}

// step is a node that runs every step.
type step struct {
	n       *graph.Node
	in, out []int
	pick    choice
}

// lower numbers the values, finds which share memory, splits the graph into the
// part that runs at load and the part that runs every step, and lists the
// weights the latter needs.
func (p *Program) lower() error {
	p.names = p.g.Names()
	p.id = map[graph.Value]int{}
	prep := p.g.Prep()
	var errs []error
	for _, n := range p.g.Nodes {
		k := inArena
		switch {
		case prep[n]:
			k = atLoad
		case n.Op == graph.InputOp.OpDef:
			k = inInput
		case n.Op == graph.StateOp.OpDef:
			k = inState
		}
		first := len(p.vals)
		for _, v := range n.Results() {
			p.id[v] = len(p.vals)
			p.vals = append(p.vals, value{v: v, kind: k, root: len(p.vals)})
		}
		alias := func(u graph.Update) {
			r := p.vals[p.id[n.In[u.In]]].root
			p.vals[first+u.Out].root = r
			p.vals[first+u.Out].kind = p.vals[r].kind
		}
		if n.Op.View {
			alias(graph.Update{})
		}
		for _, u := range n.Op.Updates {
			alias(u)
		}
		switch n.Op {
		case graph.InputOp.OpDef:
			p.inputs = append(p.inputs, first)
		case graph.StateOp.OpDef:
			p.states = append(p.states, first)
			if _, err := n.Out[0].Shape.Eval(p.fixed); err != nil {
				errs = append(errs, fmt.Errorf("%s: state %q is %s: %w; fix it with runtime.Fix", n.Where(), graph.SourceName(n), n.Out[0], err))
			}
		}
		if graph.IsSource(n.Op) || prep[n] || n.Op.View {
			continue
		}
		s := &step{n: n, pick: p.sel.picks[n]}
		for _, v := range n.In {
			s.in = append(s.in, p.id[v])
		}
		for i := range n.Out {
			s.out = append(s.out, first+i)
		}
		p.steps = append(p.steps, s)
	}
	for _, v := range p.g.Outs {
		p.outs = append(p.outs, p.id[v])
	}
	p.findNeeds()
	return errors.Join(errs...)
}

// findNeeds lists the forms of weights that steps and outputs read, in order of
// first use.
func (p *Program) findNeeds() {
	seen := map[stored]bool{}
	need := func(s stored) {
		if !seen[s] {
			seen[s] = true
			p.need = append(p.need, s)
		}
	}
	for _, s := range p.steps {
		for i, v := range s.in {
			if p.vals[v].kind == atLoad {
				need(p.form(v, s.pick.layout(i)))
			}
		}
	}
	for _, v := range p.outs {
		if p.vals[v].kind == atLoad {
			need(p.form(v, ""))
		}
	}
}

func (p *Program) form(v int, l graph.Layout) stored {
	if l == "" {
		v = p.vals[v].root
	}
	return stored{v, l}
}

// dims evaluates a value's extents.
func (p *Program) dims(v int, env map[string]int) ([]int, error) {
	return p.vals[v].v.Type().Shape.Eval(env)
}
