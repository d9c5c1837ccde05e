package graph

import (
	"errors"
	"fmt"
	"slices"
)

// Verify checks that g is well formed and that every op is legal in the phase:
// operands come before their users, types agree with the ops' rules, symbols
// are declared, names are unique, and every state value is read and updated in
// an order that exists. The error joins everything found.
func Verify(g *Graph, phase Phase) error {
	v := &verifier{g: g, phase: phase, index: map[*Node]int{}, names: map[string]bool{}}
	for i, s := range g.Syms {
		if !isIdent(s.Name) || s.Min < 0 || s.Max < s.Min {
			v.errs = append(v.errs, fmt.Errorf("bad symbol %q in %d..%d", s.Name, s.Min, s.Max))
		}
		if first, _ := g.Sym(s.Name); first != g.Syms[i] {
			v.errs = append(v.errs, fmt.Errorf("symbol %s is declared twice", s.Name))
		}
	}
	for i, n := range g.Nodes {
		if _, dup := v.index[n]; dup {
			v.fail(n, "node is listed twice")
			continue
		}
		v.node(n)
		v.index[n] = i
	}
	for i, o := range g.Outs {
		if _, ok := v.index[o.node]; !ok || o.res >= len(o.node.Out) {
			v.errs = append(v.errs, fmt.Errorf("output %d is not in the graph", i))
		}
	}
	v.states()
	return errors.Join(v.errs...)
}

type verifier struct {
	g     *Graph
	phase Phase
	index map[*Node]int
	names map[string]bool
	errs  []error
}

func (v *verifier) fail(n *Node, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s: %w", n.Where(), fmt.Errorf(format, args...)))
}

func (v *verifier) node(n *Node) {
	if n.Op == poison {
		v.fail(n, "poisoned node in a finished graph")
		return
	}
	if err := n.Op.Err(); err != nil {
		v.fail(n, "%w", err)
		return
	}
	if v.phase != AnyPhase && n.Op.Phases != AnyPhase && n.Op.Phases&v.phase == 0 {
		v.fail(n, "op is not legal in a graph for %s; a pass should have replaced it", v.phase)
	}
	types := make([]Type, len(n.In))
	for i, in := range n.In {
		if _, ok := v.index[in.node]; !ok {
			v.fail(n, "operand %s is defined later or elsewhere", n.Op.operand(i))
			return
		}
		types[i] = in.Type()
	}
	for _, t := range n.Out {
		if err := checkType(t, v.g.Syms); err != nil {
			v.fail(n, "%w", err)
		}
	}
	if IsSource(n.Op) {
		if name := SourceName(n); name != "" {
			key := n.Op.Name + " " + name
			if v.names[key] {
				v.fail(n, "%q is declared twice", name)
			}
			v.names[key] = true
		}
		return
	}
	want, err := n.Op.InferTypes(n.Attrs, types)
	if err != nil {
		v.fail(n, "%w", err)
		return
	}
	if len(n.Out) != len(want) {
		v.fail(n, "node has %d results, the type rule gives %d", len(n.Out), len(want))
		return
	}
	for i, t := range n.Out {
		if t.Elem != want[i].Elem || !t.Shape.Equal(want[i].Shape) {
			v.fail(n, "result %d is %s, the type rule says %s", i, t, want[i])
		}
	}
}

// states checks that each state value has at most one writer, and that its
// readers can all run before that writer.
func (v *verifier) states() {
	stateful := map[Value]bool{}
	writer := map[Value]*Node{}
	for _, n := range v.g.Nodes {
		if n.Op == StateOp.OpDef {
			stateful[n.Result(0)] = true
		}
		for _, u := range n.Op.Updates {
			if u.In >= len(n.In) || u.Out >= len(n.Out) {
				v.fail(n, "update %v is out of range", u)
				continue
			}
			s := n.In[u.In]
			if !stateful[s] {
				v.fail(n, "operand %s is updated in place but is no state", n.Op.operand(u.In))
				continue
			}
			if w := writer[s]; w != nil {
				v.fail(n, "second writer of state %s; the first is %s", s, w.Where())
				continue
			}
			writer[s] = n
			stateful[n.Result(u.Out)] = true
		}
	}
	for i, o := range v.g.Outs {
		// The output would be read after the step, when its memory holds the
		// new value.
		root := o
		for root.node != nil && root.node.Op.View && len(root.node.In) > 0 {
			root = root.node.In[0]
		}
		if w := writer[root]; w != nil {
			v.errs = append(v.errs, fmt.Errorf("output %d is the old value of state %s, which is updated in place: %s", i, root, w.Where()))
		}
	}
	if len(writer) > 0 && len(v.errs) == 0 {
		if _, err := Schedule(v.g); err != nil {
			v.errs = append(v.errs, err)
		}
	}
}

// Schedule returns the nodes in an order that respects data flow and runs every
// reader of a state value before the op that updates it in place. Among ready
// nodes the graph's own order decides.
func Schedule(g *Graph) ([]*Node, error) {
	index := map[*Node]int{}
	for i, n := range g.Nodes {
		index[n] = i
	}
	uses := g.Uses()
	after := make([][]int, len(g.Nodes)) // edges i -> later nodes
	waits := make([]int, len(g.Nodes))
	edge := func(from, to int) {
		if from != to {
			after[from] = append(after[from], to)
			waits[to]++
		}
	}
	for i, n := range g.Nodes {
		for _, in := range n.In {
			edge(index[in.node], i)
		}
		for _, u := range n.Op.Updates {
			for _, r := range memoryReaders(uses, n.In[u.In]) {
				edge(index[r], i)
			}
		}
	}
	var ready intHeap
	for i := range g.Nodes {
		if waits[i] == 0 {
			ready.push(i)
		}
	}
	order := make([]*Node, 0, len(g.Nodes))
	for len(ready) > 0 {
		i := ready.pop()
		order = append(order, g.Nodes[i])
		for _, j := range after[i] {
			if waits[j]--; waits[j] == 0 {
				ready.push(j)
			}
		}
	}
	if len(order) < len(g.Nodes) {
		for i, n := range g.Nodes {
			if waits[i] > 0 && len(n.Op.Updates) > 0 {
				s := n.In[n.Op.Updates[0].In]
				return nil, fmt.Errorf("%s: cycle through state %s: it is updated here, but a later reader of its old value depends on the update", n.Where(), s)
			}
		}
		return nil, errors.New("cycle")
	}
	return order, nil
}

// memoryReaders lists the nodes that read v or a view of v's memory.
func memoryReaders(uses map[Value][]*Node, v Value) []*Node {
	rs := uses[v]
	for _, r := range uses[v] {
		if r.Op.View && r.In[0] == v {
			rs = append(slices.Clip(rs), memoryReaders(uses, r.Result(0))...)
		}
	}
	return rs
}

// intHeap is a min-heap of node indices.
type intHeap []int

func (h *intHeap) push(x int) {
	*h = append(*h, x)
	for i := len(*h) - 1; i > 0; {
		p := (i - 1) / 2
		if (*h)[p] <= (*h)[i] {
			break
		}
		(*h)[p], (*h)[i] = (*h)[i], (*h)[p]
		i = p
	}
}

func (h *intHeap) pop() int {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1] < s[c] {
			c++
		}
		if s[i] <= s[c] {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return top
}
