package runtime

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// choice is what a node has settled on for the whole program: the reduction
// order, so that plans agree bit for bit, and the layout of each weight, which
// is packed once for all plans. Which kernel runs is up to each plan.
type choice struct {
	order   string // "" where every order gives the same bits
	layouts []graph.Layout
}

func (c choice) layout(i int) graph.Layout {
	if i < len(c.layouts) {
		return c.layouts[i]
	}
	return ""
}

func (c choice) equal(d choice) bool {
	return c.order == d.order && slices.Equal(c.layouts, d.layouts)
}

// option is a choice with its cost: for every probed size, how many times slower
// than the best, summed.
type option struct {
	choice
	cost float64
}

// fallbackPenalty makes a fallback the last resort at a probed size.
const fallbackPenalty = 1e4

// selector finds the choices of all nodes.
type selector struct {
	dev       devices.Device
	reg       *devices.Registry
	fallbacks []devices.Kernel
	prep      map[*graph.Node]bool
	probes    []map[string]int
	order     []*graph.Node
	options   map[*graph.Node][]option
	picks     map[*graph.Node]choice
}

func newSelector(dev devices.Device, g *graph.Graph, probes []map[string]int) *selector {
	s := &selector{dev: dev, reg: devices.NewRegistry(dev), prep: g.Prep(), probes: probes,
		options: map[*graph.Node][]option{}, picks: map[*graph.Node]choice{}}
	for _, k := range dev.Kernels() {
		if k.Op == nil {
			s.fallbacks = append(s.fallbacks, k)
		}
	}
	return s
}

// choiceOf is the choice that lets n use kernel k, or why there is none.
func (s *selector) choiceOf(n *graph.Node, k devices.Kernel) (choice, error) {
	var c choice
	if !n.Op.Exact {
		if c.order = k.Order; c.order == "" {
			c.order = "=" + k.Name
		}
	}
	packed := false
	for i, l := range k.Layouts {
		if l == "" || i >= len(n.In) {
			continue
		}
		packed = true
		switch lay, ok := s.reg.Layout(l); {
		case !ok:
			return c, fmt.Errorf("the device has no layout %s", l)
		case lay.Elem != n.In[i].Type().Elem:
			return c, fmt.Errorf("layout %s is for %s", l, lay.Elem)
		case s.prep[n]:
			return c, fmt.Errorf("it wants operand %d packed as %s, which is not done while loading", i, l)
		case !s.prep[n.In[i].Node()]:
			return c, fmt.Errorf("it wants operand %d packed as %s, but the operand changes every step", i, l)
		}
	}
	if packed {
		c.layouts = make([]graph.Layout, len(n.In))
		copy(c.layouts, k.Layouts)
	}
	return c, nil
}

// consider finds the node's options: the choices for which some kernel fits at
// every probed size. The error says why there is none.
func (s *selector) consider(n *graph.Node) error {
	probes := s.probes
	if !symbolic(n) {
		probes = probes[:1]
	}
	type tally struct {
		option
		sizes int
	}
	var all []tally
	var rejected []devices.Rejection
	probed := 0
	for _, env := range probes {
		call, err := callAt(n, env)
		if err != nil {
			return err
		}
		if empty(call) {
			continue
		}
		probed++
		here, rs := s.optionsAt(n, call)
		if rejected == nil {
			rejected = rs
		}
		for _, o := range here {
			i := slices.IndexFunc(all, func(t tally) bool { return t.equal(o.choice) })
			if i < 0 {
				i = len(all)
				all = append(all, tally{option: option{choice: o.choice}})
			}
			all[i].cost += o.cost
			all[i].sizes++
		}
	}
	var opts []option
	for _, t := range all {
		if t.sizes == probed {
			opts = append(opts, t.option)
		}
	}
	if probed > 0 && len(opts) == 0 {
		return &devices.NoKernelError{Device: s.dev.Name(), Op: n.Op.Name, Where: n.Where(), Rejections: rejected}
	}
	// Stable: at equal cost the device's own order decides.
	slices.SortStableFunc(opts, func(a, b option) int { return cmp.Compare(a.cost, b.cost) })
	s.options[n] = opts
	s.order = append(s.order, n)
	return nil
}

// optionsAt lists the choices that have a kernel for the call, each with the
// cost of its best kernel relative to the best of all.
func (s *selector) optionsAt(n *graph.Node, call *devices.Call) ([]option, []devices.Rejection) {
	own, rs := s.candidates(n, call)
	var opts []option
	add := func(c choice, cost float64) {
		if !slices.ContainsFunc(opts, func(o option) bool { return o.equal(c) }) {
			opts = append(opts, option{c, cost})
		}
	}
	for _, k := range own { // cheapest first
		add(k.choice, max(k.Cost, 1)/max(own[0].Cost, 1))
	}
	for _, k := range s.acceptingFallbacks(n, call) {
		add(k.choice, fallbackPenalty)
	}
	return opts, rs
}

// ranked is a kernel that fits a call, with what it implies for the program.
type ranked struct {
	devices.Candidate
	choice
}

// candidates are the device's own kernels for the call, cheapest first.
func (s *selector) candidates(n *graph.Node, call *devices.Call) ([]ranked, []devices.Rejection) {
	cs, rs := s.reg.Candidates(call)
	var out []ranked
	for _, c := range cs {
		if c.Kernel.Op == nil {
			continue
		}
		ch, err := s.choiceOf(n, c.Kernel)
		if err != nil {
			rs = append(rs, devices.Rejection{Kernel: c.Kernel.Name, Reason: err.Error()})
			continue
		}
		out = append(out, ranked{c, ch})
	}
	return out, rs
}

// acceptingFallbacks are the fallbacks for the call. A fused op has none: its
// body over real kernels is always better than interpreting it.
func (s *selector) acceptingFallbacks(n *graph.Node, call *devices.Call) []ranked {
	if n.Op.Body != nil {
		return nil
	}
	var out []ranked
	for _, k := range s.fallbacks {
		if k.Fit(call) != nil {
			continue
		}
		if c, err := s.choiceOf(n, k); err == nil {
			out = append(out, ranked{devices.Candidate{Kernel: k}, c})
		}
	}
	return out
}

// settle picks one option for each node. Users of one weight agree on a single
// layout where there is one that all can use; the sum of their costs decides. If
// agreeing would drive one of them to a fallback, each gets a copy of its own.
func (s *selector) settle() {
	fixed := map[graph.Value]graph.Layout{}
	users := map[graph.Value][]*graph.Node{}
	var shared []graph.Value
	for _, n := range s.order {
		for i, v := range n.In {
			if !s.prep[v.Node()] || s.prep[n] || slices.Contains(n.In[:i], v) {
				continue
			}
			users[v] = append(users[v], n)
			if len(users[v]) == 2 {
				shared = append(shared, v)
			}
		}
	}
	for _, v := range shared {
		free := 0.0
		for _, n := range users[v] {
			o, _ := s.cheapest(n, fixed)
			free += o.cost
		}
		best, bestCost, agreed := graph.Layout(""), free+fallbackPenalty/2, false
		for _, l := range s.layoutsOf(users[v], v) {
			cost, ok := 0.0, true
			fixed[v] = l
			for _, n := range users[v] {
				o, found := s.cheapest(n, fixed)
				cost += o.cost
				ok = ok && found
			}
			if ok && cost < bestCost {
				best, bestCost, agreed = l, cost, true
			}
		}
		delete(fixed, v)
		if agreed {
			fixed[v] = best
		}
	}
	for _, n := range s.order {
		o, _ := s.cheapest(n, fixed)
		s.picks[n] = o.choice
	}
}

// layoutsOf lists the layouts in which some user of v could take it.
func (s *selector) layoutsOf(users []*graph.Node, v graph.Value) []graph.Layout {
	var ls []graph.Layout
	for _, n := range users {
		for _, o := range s.options[n] {
			for i, in := range n.In {
				if l := o.layout(i); in == v && !slices.Contains(ls, l) {
					ls = append(ls, l)
				}
			}
		}
	}
	return ls
}

// cheapest returns the node's best option under the layouts fixed so far.
func (s *selector) cheapest(n *graph.Node, fixed map[graph.Value]graph.Layout) (option, bool) {
	for _, o := range s.options[n] {
		ok := true
		for i, v := range n.In {
			if l, set := fixed[v]; set && l != o.layout(i) {
				ok = false
			}
		}
		if ok {
			return o, true
		}
	}
	return option{}, false
}

// kernel returns the cheapest kernel for the call that keeps to the node's
// choice.
func (s *selector) kernel(n *graph.Node, pick choice, call *devices.Call) (devices.Kernel, error) {
	own, rs := s.candidates(n, call)
	for i := range own {
		if own[i].equal(pick) {
			return own[i].Kernel, nil
		}
	}
	for _, k := range s.acceptingFallbacks(n, call) {
		if k.equal(pick) {
			return k.Kernel, nil
		}
	}
	return devices.Kernel{}, &devices.NoKernelError{Device: s.dev.Name(), Op: n.Op.Name, Where: n.Where(), Rejections: rs}
}

// rejections tells why every kernel of the device's own but the taken one was
// not taken.
func (s *selector) rejections(n *graph.Node, pick choice, call *devices.Call, taken string) []devices.Rejection {
	plain := *call
	plain.In = slices.Clone(call.In)
	for i := range plain.In {
		plain.In[i].Layout = "" // as when kernels are chosen
	}
	own, rs := s.candidates(n, &plain)
	cost := 0.0
	for _, k := range own {
		if k.Kernel.Name == taken {
			cost = k.Cost
		}
	}
	for _, k := range own {
		reason := ""
		switch {
		case k.Kernel.Name == taken:
			continue
		case !slices.Equal(k.layouts, pick.layouts):
			reason = fmt.Sprintf("it wants weights as %v, the program stores %v", k.layouts, pick.layouts)
		case k.order != pick.order:
			reason = fmt.Sprintf("its reduction order %q gives other bits than %q, which fits every size", k.Kernel.Order, pick.order)
		case k.Cost > cost:
			reason = fmt.Sprintf("slower: %.3g µs against %.3g", k.Cost/1e3, cost/1e3)
		default:
			reason = "as fast by its estimate, but listed later"
		}
		rs = append(rs, devices.Rejection{Kernel: k.Kernel.Name, Reason: reason})
	}
	return rs
}
