package passes

import (
	"cmp"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// liveness estimates the memory of a training step in which some values are
// computed twice. Nodes and values are numbered in the order of execution; the
// forward pass ends with the node that makes the loss.
type liveness struct {
	g     *graph.Graph
	nodes []liveNode
	vals  []liveValue
	split int // last node of the forward pass
	index map[*graph.Node]int
	total float64 // cost of all nodes
	cands []int   // nodes that could run twice
}

type liveNode struct {
	n     *graph.Node
	in    []int // values
	out   []int
	view  bool
	root  int  // the node whose memory this one's is, through views
	pure  bool // may run twice
	late  bool // the backward pass reads it, or a view of it
	cost  float64
	bytes int // of its results
}

type liveValue struct {
	node  int
	bytes int // 0 where memory is not the step's own
	input bool
	kept  bool // an output of the graph
}

// alignment is how operands lie in memory; only an estimate depends on it.
const alignment = 128

func newLiveness(g *graph.Graph, syms map[string]int, cost func(*graph.Node) float64) (*liveness, error) {
	if len(g.Outs) == 0 {
		return nil, errNoLoss
	}
	m := &liveness{g: g, index: map[*graph.Node]int{}}
	first := map[*graph.Node]int{} // value of a node's first result
	prep := g.Prep()
	for i, n := range g.Nodes {
		m.index[n], first[n] = i, len(m.vals)
		ln := liveNode{n: n, view: n.Op.View, root: i, pure: !graph.IsSource(n.Op) && len(n.Op.Updates) == 0 && !prep[n]}
		io := 0
		for _, v := range n.In {
			id := first[v.Node()] + v.Index()
			ln.in = append(ln.in, id)
			io += m.vals[id].bytes
		}
		updated := map[int]bool{}
		for _, u := range n.Op.Updates {
			updated[u.Out] = true
		}
		for j, t := range n.Out {
			dims, err := t.Shape.Eval(syms)
			if err != nil {
				return nil, err
			}
			count, err := graph.Count(dims)
			if err != nil {
				return nil, err
			}
			v := liveValue{node: i, bytes: (count*t.Elem.Size() + alignment - 1) / alignment * alignment, input: n.Op == graph.InputOp.OpDef}
			if io += v.bytes; prep[n] || n.Op == graph.StateOp.OpDef || updated[j] || ln.view {
				v.bytes = 0
			}
			ln.bytes += v.bytes
			ln.out = append(ln.out, len(m.vals))
			m.vals = append(m.vals, v)
		}
		if ln.view {
			ln.root = m.nodes[m.vals[ln.in[0]].node].root
		}
		if ln.pure && !ln.view {
			if ln.cost = float64(io); cost != nil {
				ln.cost = cost(n)
			}
			m.total += ln.cost
		}
		m.nodes = append(m.nodes, ln)
	}
	m.split = m.index[g.Outs[0].Node()]
	for _, o := range g.Outs {
		m.vals[first[o.Node()]+o.Index()].kept = true
	}
	for i := m.split + 1; i < len(m.nodes); i++ {
		for _, v := range m.nodes[i].in {
			if j := m.vals[v].node; j <= m.split {
				m.nodes[j].late, m.nodes[m.nodes[j].root].late = true, true
			}
		}
	}
	for i := range m.split {
		if n := &m.nodes[i]; n.pure && !n.view && n.late && n.bytes > 0 {
			m.cands = append(m.cands, i)
		}
	}
	return m, nil
}

// again reports whether node i runs a second time when the backward pass, or
// another node that does, needs it: because it is chosen, or because nothing
// keeps its results that long.
func (m *liveness) again(set []bool, i int) bool {
	n := &m.nodes[i]
	return i <= m.split && n.pure && (set[n.root] || !n.late && !m.nodes[n.root].late)
}

// estimate is what a simulated step needs.
type estimate struct {
	peak   int
	excess float64 // bytes over the target, summed over time
	cost   float64 // of nodes that run twice
	nodes  int
}

// sim is one simulated step.
type sim struct {
	m           *liveness
	set         []bool
	at          int // position in the order of execution
	first, last []int
	clone       []int // position of the second run of each node, -1 if none
	cfirst      []int // the same for values of second runs
	clast       []int
	est         estimate
}

// run simulates a step in which the nodes of set run twice.
func (m *liveness) run(set []bool, target int) estimate {
	s := m.simulate(set)
	delta := make([]int, s.at+2)
	hold := func(first, last, bytes int) {
		delta[first] += bytes
		delta[last+1] -= bytes
	}
	for v, l := range m.vals {
		if l.bytes == 0 {
			continue
		}
		from, to := s.first[v], s.last[v]
		if l.input {
			from = 0
		}
		if l.kept {
			to = s.at
		}
		hold(from, to, l.bytes)
		if s.cfirst[v] >= 0 {
			hold(s.cfirst[v], s.clast[v], l.bytes)
		}
	}
	now := 0
	for _, d := range delta {
		now += d
		s.est.peak = max(s.est.peak, now)
		s.est.excess += float64(max(0, now-target))
	}
	return s.est
}

func (m *liveness) simulate(set []bool) *sim {
	filled := func(n int) []int {
		a := make([]int, n)
		for i := range a {
			a[i] = -1
		}
		return a
	}
	s := &sim{m: m, set: set, first: filled(len(m.vals)), last: filled(len(m.vals)),
		clone: filled(len(m.nodes)), cfirst: filled(len(m.vals)), clast: filled(len(m.vals))}
	for i := range m.nodes {
		n := &m.nodes[i]
		if i > m.split {
			s.need(n)
		}
		for _, v := range n.in {
			s.use(v, i > m.split)
		}
		for _, v := range n.out {
			s.first[v] = s.at
			s.last[v] = max(s.last[v], s.at)
		}
		s.at++
	}
	return s
}

// need runs again what n reads and nothing keeps.
func (s *sim) need(n *liveNode) {
	for _, v := range n.in {
		j := s.m.vals[v].node
		if s.clone[j] >= 0 || !s.m.again(s.set, j) {
			continue
		}
		c := &s.m.nodes[j]
		s.need(c)
		for _, w := range c.in {
			s.use(w, true)
		}
		s.clone[j] = s.at
		for _, w := range c.out {
			s.cfirst[w], s.clast[w] = s.at, s.at
		}
		s.est.cost += c.cost
		s.est.nodes++
		s.at++
	}
}

// use keeps a value, and what it is a view of, until now. Late readers take the
// second run's value if there is one.
func (s *sim) use(v int, late bool) {
	n := &s.m.nodes[s.m.vals[v].node]
	if late && s.clone[s.m.vals[v].node] >= 0 {
		s.clast[v] = s.at
	} else {
		s.last[v] = s.at
	}
	if n.view {
		s.use(n.in[0], late)
	}
}

// price is the cost of running node i again, down to what is kept.
func (m *liveness) price(set []bool, i int) float64 {
	seen := map[int]bool{}
	var visit func(i int) float64
	visit = func(i int) float64 {
		if seen[i] {
			return 0
		}
		seen[i] = true
		c := m.nodes[i].cost
		for _, v := range m.nodes[i].in {
			if j := m.vals[v].node; m.again(set, j) {
				c += visit(j)
			}
		}
		return c
	}
	return visit(i)
}

// choose adds nodes to a copy of set, those first that free most bytes for their
// cost, as long as that brings the step closer to the target. It returns the set
// of the lowest peak and whether that reaches the target.
func (m *liveness) choose(set []bool, target int) ([]bool, bool) {
	set = slices.Clone(set)
	now := m.run(set, target)
	best, low := slices.Clone(set), now.peak
	for again := true; again && low > target; {
		again = false
		type offer struct {
			node  int
			worth float64
		}
		var offers []offer
		for _, i := range m.cands {
			if !set[i] {
				offers = append(offers, offer{i, float64(m.nodes[i].bytes) / (m.price(set, i) + 1)})
			}
		}
		slices.SortStableFunc(offers, func(a, b offer) int { return cmp.Compare(b.worth, a.worth) })
		for _, o := range offers {
			set[o.node] = true
			next := m.run(set, target)
			if next.excess >= now.excess {
				set[o.node] = false
				continue
			}
			now, again = next, true
			if now.peak < low {
				low = now.peak
				copy(best, set)
			}
			if low <= target {
				break
			}
		}
	}
	return best, low <= target
}

// spare takes out of set what is not needed for the target, the most expensive
// first.
func (m *liveness) spare(set []bool, target int) []bool {
	set = slices.Clone(set)
	var chosen []int
	for _, i := range m.cands {
		if set[i] {
			chosen = append(chosen, i)
		}
	}
	slices.SortStableFunc(chosen, func(a, b int) int { return cmp.Compare(m.price(set, b), m.price(set, a)) })
	for _, i := range chosen {
		set[i] = false
		if m.run(set, target).peak > target {
			set[i] = true
		}
	}
	return set
}

// rewrite returns the graph in which the nodes of set run twice, the second time
// right before the backward pass needs them.
func (m *liveness) rewrite(set []bool) (*graph.Graph, error) {
	second := map[graph.Value]graph.Value{}
	return graph.Rewrite(m.g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if m.index[n] <= m.split {
			return nil, false
		}
		var emit func(n *graph.Node) ([]graph.Value, bool)
		emit = func(n *graph.Node) ([]graph.Value, bool) {
			in, changed := make([]graph.Value, len(n.In)), false
			for i, v := range n.In {
				if !m.again(set, m.index[v.Node()]) {
					in[i] = rw.Get(v)
					continue
				}
				changed = true
				if _, ok := second[v]; !ok {
					c := v.Node()
					rw.At(c, func() {
						defer rw.B.Scope("recompute")()
						out, _ := emit(c)
						for j, w := range out {
							second[c.Result(j)] = w
							rw.B.Name(w, c.Result(j).Hint())
						}
					})
				}
				in[i] = second[v]
			}
			return rw.B.Emit(n.Op, n.Attrs, in...), changed
		}
		if !slices.ContainsFunc(n.In, func(v graph.Value) bool { return m.again(set, m.index[v.Node()]) }) {
			return nil, false
		}
		return emit(n)
	})
}
