package runtime

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// plan is the program for one assignment of symbols: which kernel runs each
// step, and where each value lies. It holds no memory; a Run binds it to its own.
type plan struct {
	env      map[string]int
	calls    []call
	places   map[int]*span // by root value, for values in the arena
	arena    int           // bytes
	peak     int           // bytes in use at once
	separate int           // bytes without reuse
	inputs   []operandAt
	outs     []operandAt
}

// call is one kernel call of a plan.
type call struct {
	step    *step
	kernel  devices.Kernel
	call    devices.Call
	in, out []stored // where operands and results lie
	scratch *span
	until   int // the first later call that touches its operands or results, if the launch is devices.Aside
}

// operandAt is a value with its extents under the plan's symbols.
type operandAt struct {
	at    stored
	dims  []int
	bytes int
	used  bool // something reads it
}

// env returns the symbol values as a map, or an error about their number or
// bounds.
func (p *Program) env(syms []int) (map[string]int, error) {
	if len(syms) != len(p.syms) {
		return nil, fmt.Errorf("graph %s: a step needs values for %d symbols %v, got %d", p.g.Name, len(p.syms), p.syms, len(syms))
	}
	env := make(map[string]int, len(p.fixed)+len(syms))
	for k, v := range p.fixed {
		env[k] = v
	}
	for i, s := range p.syms {
		if syms[i] < s.Min || syms[i] > s.Max {
			return nil, fmt.Errorf("graph %s: symbol %s is %d, allowed is %d..%d", p.g.Name, s.Name, syms[i], s.Min, s.Max)
		}
		env[s.Name] = syms[i]
	}
	return env, nil
}

// plan chooses kernels and places values for the given symbols.
func (p *Program) plan(syms []int) (*plan, error) {
	env, err := p.env(syms)
	if err != nil {
		return nil, err
	}
	pl := &plan{env: env, places: map[int]*span{}}
	for _, s := range p.steps {
		dc, err := callAt(s.n, env)
		if err != nil {
			return nil, err
		}
		if empty(dc) {
			continue
		}
		k, err := p.sel.kernel(s.n, s.pick, dc)
		if err != nil {
			return nil, err
		}
		c := call{step: s, kernel: k, call: *dc}
		for i, v := range s.in {
			l := s.pick.layout(i)
			c.call.In[i].Layout = l
			c.in = append(c.in, p.form(v, l))
		}
		for _, v := range s.out {
			c.out = append(c.out, p.form(v, ""))
		}
		pl.calls = append(pl.calls, c)
	}
	if err := p.place(pl); err != nil {
		return nil, err
	}
	for _, v := range p.inputs {
		o, err := p.operandAt(v, env)
		if err != nil {
			return nil, err
		}
		_, o.used = pl.places[v]
		pl.inputs = append(pl.inputs, o)
	}
	for _, v := range p.outs {
		o, err := p.operandAt(v, env)
		if err != nil {
			return nil, err
		}
		pl.outs = append(pl.outs, o)
	}
	return pl, nil
}

func (p *Program) operandAt(v int, env map[string]int) (operandAt, error) {
	dims, err := p.dims(v, env)
	if err != nil {
		return operandAt{}, err
	}
	n, err := graph.Count(dims)
	return operandAt{at: p.form(v, ""), dims: dims, bytes: n * p.vals[v].v.Type().Elem.Size()}, err
}

// place finds how long each value of the arena lives, lets results take over the
// memory of operands that die where a kernel allows it, and packs the rest.
func (p *Program) place(pl *plan) error {
	var spans []*span
	use := func(root, at int) error {
		s := pl.places[root]
		if s == nil {
			o, err := p.operandAt(root, pl.env)
			if err != nil {
				return err
			}
			s = &span{first: at, last: at, bytes: o.bytes}
			if p.vals[root].kind == inInput {
				s.first = -1 // written before the first call
			}
			pl.places[root] = s
			spans = append(spans, s)
		}
		s.last = max(s.last, at)
		return nil
	}
	transient := func(root int) bool { k := p.vals[root].kind; return k == inArena || k == inInput }
	for i := range pl.calls {
		c := &pl.calls[i]
		for _, at := range [][]stored{c.in, c.out} {
			for _, f := range at {
				if transient(f.val) {
					if err := use(f.val, i); err != nil {
						return err
					}
				}
			}
		}
		if c.kernel.Scratch != nil {
			if n := c.kernel.Scratch(&c.call); n > 0 {
				c.scratch = &span{first: i, last: i, bytes: n}
				spans = append(spans, c.scratch)
			}
		}
	}
	for _, v := range p.outs {
		if r := p.vals[v].root; transient(r) {
			if err := use(r, len(pl.calls)); err != nil {
				return err
			}
		}
	}
	for _, s := range spans {
		pl.separate += align(s.bytes)
	}
	spans = p.takeOver(pl, spans)
	pl.setAside()
	pl.arena = pack(spans)
	pl.peak = livePeak(spans, len(pl.calls))
	return nil
}

// setAside finds how long the calls of kernels that run beside others may take,
// and keeps their memory for so long.
func (pl *plan) setAside() {
	for i := range pl.calls {
		c := &pl.calls[i]
		if !c.kernel.Aside {
			continue
		}
		c.until = i + 1
		for c.until < len(pl.calls) && !c.touches(&pl.calls[c.until]) {
			c.until++
		}
		spans := []*span{c.scratch}
		for _, at := range [][]stored{c.in, c.out} {
			for _, f := range at {
				spans = append(spans, pl.places[f.val])
			}
		}
		for _, s := range spans {
			if s != nil {
				s.last = max(s.last, c.until-1)
			}
		}
	}
}

// touches reports whether the calls have an operand or result in common.
func (c *call) touches(o *call) bool {
	for _, at := range [][]stored{c.in, c.out} {
		for _, f := range at {
			if slices.Contains(o.in, f) || slices.Contains(o.out, f) {
				return true
			}
		}
	}
	return false
}

// takeOver merges a result's span into that of an operand whose last reader is
// the call itself, if the kernel may write one over the other.
func (p *Program) takeOver(pl *plan, spans []*span) []*span {
	gone := map[*span]bool{}
	for i := range pl.calls {
		c := &pl.calls[i]
		for _, u := range c.kernel.InPlace {
			if u.In >= len(c.in) || u.Out >= len(c.out) {
				continue
			}
			from, to := pl.places[c.in[u.In].val], pl.places[c.out[u.Out].val]
			if from == nil || to == nil || from == to || from.last != i || to.first != i || to.bytes > from.bytes {
				continue
			}
			readers := 0
			for _, f := range c.in {
				if pl.places[f.val] == from {
					readers++
				}
			}
			for _, f := range c.out {
				if pl.places[f.val] == from {
					readers++ // another result has taken it already
				}
			}
			if readers != 1 {
				continue
			}
			from.last = to.last
			gone[to] = true
			pl.places[c.out[u.Out].val] = from
		}
	}
	kept := spans[:0]
	for _, s := range spans {
		if !gone[s] {
			kept = append(kept, s)
		}
	}
	return kept
}
