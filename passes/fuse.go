package passes

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// Fuse replaces every occurrence of a fused op's body by the op, trying the ops
// in the given order. An occurrence is replaced only if nothing else reads the
// values inside it and the graph stays free of cycles.
func Fuse(fused ...*graph.OpDef) Pass {
	return Pass{"fuse", func(g *graph.Graph) (*graph.Graph, error) {
		for _, op := range fused {
			if err := op.Err(); err != nil {
				return nil, err
			}
			if op.Body == nil {
				return nil, fmt.Errorf("op %s has no body to match", op.Name)
			}
			ms := findMatches(g, op)
			if len(ms) == 0 {
				continue
			}
			next, err := replace(g, op, ms)
			if err != nil {
				return nil, fmt.Errorf("fusing %s: %w", op.Name, err)
			}
			g = next
		}
		return g, nil
	}}
}

// match is one occurrence of a body: a node for each statement and a value for
// each name.
type match struct {
	nodes []*graph.Node
	vals  map[string]graph.Value
	attrs any
}

func replace(g *graph.Graph, op *graph.OpDef, ms []*match) (*graph.Graph, error) {
	of := map[*graph.Node]*match{}
	for _, m := range ms {
		for _, n := range m.nodes {
			of[n] = m
		}
	}
	done := map[*match]bool{}
	return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		m := of[n]
		if m == nil {
			return nil, false
		}
		if done[m] {
			return nil, true
		}
		done[m] = true
		in := make([]graph.Value, len(op.Body.In))
		for i, name := range op.Body.In {
			in[i] = rw.Get(m.vals[name])
		}
		rw.Merge(m.nodes, func() {
			for i, v := range rw.B.Emit(op, m.attrs, in...) {
				rw.Set(m.vals[op.Body.Out[i]], v)
			}
		})
		return nil, true
	})
}

// findMatches returns occurrences that share no node and can all be replaced
// together.
func findMatches(g *graph.Graph, op *graph.OpDef) []*match {
	f := newFinder(g, op)
	var ms []*match
	anchor := op.Body.Stmts[len(op.Body.Stmts)-1].Op
	for _, n := range g.Nodes {
		if n.Op != anchor {
			continue
		}
		if m := f.at(n); m != nil {
			for _, x := range m.nodes {
				f.taken[x] = m
			}
			ms = append(ms, m)
		}
	}
	return ms
}

// finder matches one body against one graph by backtracking.
type finder struct {
	g     *graph.Graph
	op    *graph.OpDef
	body  *graph.Body
	uses  map[graph.Value][]*graph.Node
	isOut map[graph.Value]bool
	index map[*graph.Node]int
	taken map[*graph.Node]*match // by earlier matches
	after [][]int32              // edges between node indices, state order included
	own   []int32                // 0, 1, 2, …
	group []int32                // scratch of acyclic

	nodes []*graph.Node
	vals  map[string]graph.Value
	bound map[string]string
}

func newFinder(g *graph.Graph, op *graph.OpDef) *finder {
	f := &finder{g: g, op: op, body: op.Body, uses: g.Uses(), isOut: map[graph.Value]bool{},
		index: map[*graph.Node]int{}, taken: map[*graph.Node]*match{}}
	for _, v := range g.Outs {
		f.isOut[v] = true
	}
	for i, n := range g.Nodes {
		f.index[n] = i
		f.own = append(f.own, int32(i))
	}
	f.after = make([][]int32, len(g.Nodes))
	edge := func(from, to *graph.Node) {
		if from != to {
			f.after[f.index[from]] = append(f.after[f.index[from]], int32(f.index[to]))
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			edge(v.Node(), n)
		}
		for _, u := range n.Op.Updates {
			for _, r := range f.uses[n.In[u.In]] {
				edge(r, n)
			}
		}
	}
	return f
}

// at tries to match the body with its last statement at n.
func (f *finder) at(n *graph.Node) *match {
	last := len(f.body.Stmts) - 1
	f.nodes = make([]*graph.Node, last+1)
	f.vals = map[string]graph.Value{}
	f.bound = map[string]string{}
	var found *match
	f.try(last, n, func() bool { found = f.finish(); return found != nil })
	return found
}

// try binds statement i to node n in every way the op's operands allow, and
// calls next for each until it returns true.
func (f *finder) try(i int, n *graph.Node, next func() bool) bool {
	st := &f.body.Stmts[i]
	if n.Op != st.Op || f.taken[n] != nil || slices.Contains(f.nodes, n) || len(n.In) != len(st.In) {
		return false
	}
	orders := [][]graph.Value{n.In}
	if n.Op.Commutes && len(n.In) >= 2 {
		swapped := slices.Clone(n.In)
		swapped[0], swapped[1] = swapped[1], swapped[0]
		orders = append(orders, swapped)
	}
	for _, in := range orders {
		vals, bound := cloneMap(f.vals), cloneMap(f.bound)
		f.nodes[i] = n
		if f.bind(st, n, in) && f.rest(next) {
			return true
		}
		f.vals, f.bound, f.nodes[i] = vals, bound, nil
	}
	return false
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// bind records the names and attributes that statement st gets at n.
func (f *finder) bind(st *graph.Stmt, n *graph.Node, in []graph.Value) bool {
	if n.Op == graph.ConstOp.OpDef {
		t, _ := graph.ConstTensor(n)
		if t.Elem != st.Const.Elem || !slices.Equal(t.Dims, st.Const.Dims) || string(t.Data) != string(st.Const.Data) {
			return false
		}
	} else if !st.BindAttrs(n.Attrs, f.bound) {
		return false
	}
	set := func(name string, v graph.Value) bool {
		if old, ok := f.vals[name]; ok {
			return old == v
		}
		f.vals[name] = v
		return true
	}
	for i, name := range st.In {
		if !set(name, in[i]) {
			return false
		}
	}
	for i, name := range st.Out {
		if !set(name, n.Result(i)) {
			return false
		}
	}
	return true
}

// rest matches one more statement that is connected to what is bound already.
func (f *finder) rest(next func() bool) bool {
	pending := -1
	for i := range f.body.Stmts {
		if f.nodes[i] != nil {
			continue
		}
		pending = i
		for _, name := range f.body.Stmts[i].Out {
			if v, ok := f.vals[name]; ok {
				return f.try(i, v.Node(), next)
			}
		}
	}
	if pending < 0 {
		return next()
	}
	// No producer is known: look among the users of a bound operand.
	for i := range f.body.Stmts {
		if f.nodes[i] != nil {
			continue
		}
		for _, name := range f.body.Stmts[i].In {
			if v, ok := f.vals[name]; ok {
				for _, n := range f.uses[v] {
					if f.try(i, n, next) {
						return true
					}
				}
				return false
			}
		}
	}
	return false
}

// finish checks a complete binding: no value escapes, no cycle arises, and the
// fused op accepts it.
func (f *finder) finish() *match {
	inside := map[*graph.Node]bool{}
	for _, n := range f.nodes {
		inside[n] = true
	}
	result := map[graph.Value]bool{}
	for _, name := range f.body.Out {
		result[f.vals[name]] = true
	}
	for _, n := range f.nodes {
		for i := range n.Out {
			v := n.Result(i)
			if result[v] {
				continue
			}
			if f.isOut[v] {
				return nil
			}
			for _, u := range f.uses[v] {
				if !inside[u] {
					return nil
				}
			}
		}
	}
	attrs, err := f.op.MakeAttrs(f.bound)
	if err != nil {
		return nil
	}
	types := make([]graph.Type, len(f.body.In))
	for i, name := range f.body.In {
		v, ok := f.vals[name]
		if !ok {
			return nil // an operand the body never reads
		}
		types[i] = v.Type()
	}
	if _, err := f.op.InferTypes(attrs, types); err != nil {
		return nil
	}
	m := &match{nodes: slices.Clone(f.nodes), vals: cloneMap(f.vals), attrs: attrs}
	if !f.acyclic(m) {
		return nil
	}
	return m
}

// acyclic reports whether the graph has an order after every match so far, and
// m, is contracted to one node. State readers must still precede the writer.
func (f *finder) acyclic(m *match) bool {
	f.group = append(f.group[:0], f.own...)
	for n, t := range f.taken {
		f.group[f.index[n]] = int32(f.index[t.nodes[0]])
	}
	for _, n := range m.nodes {
		f.group[f.index[n]] = int32(f.index[m.nodes[0]])
	}
	members := make([][]int32, len(f.own))
	waits := make([]int32, len(f.own))
	groups := 0
	for i, g := range f.group {
		if members[g] == nil {
			groups++
		}
		members[g] = append(members[g], int32(i))
		for _, j := range f.after[i] {
			if h := f.group[j]; h != g {
				waits[h]++
			}
		}
	}
	var ready []int32
	for g, ms := range members {
		if ms != nil && waits[g] == 0 {
			ready = append(ready, int32(g))
		}
	}
	for len(ready) > 0 {
		g := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		groups--
		for _, i := range members[g] {
			for _, j := range f.after[i] {
				if h := f.group[j]; h != g {
					if waits[h]--; waits[h] == 0 {
						ready = append(ready, h)
					}
				}
			}
		}
	}
	return groups == 0
}
