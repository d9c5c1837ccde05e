package runtime

import (
	"errors"
	"fmt"
	"sync"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// maxSyms bounds the free symbols of a program: a plan is found by an array of
// their values.
const maxSyms = 8

// Option changes how a graph is compiled.
type Option func(*config)

type config struct {
	fixed map[string]int
	plans int
}

// Fix gives a symbol one value for the whole program, such as the number of
// cache blocks. Extents of states must be constant once symbols are fixed.
func Fix(sym string, value int) Option {
	return func(c *config) { c.fixed[sym] = value }
}

// MaxPlans sets how many plans a Run keeps; the least recently used one goes
// first. The default is 256.
func MaxPlans(n int) Option {
	return func(c *config) { c.plans = max(1, n) }
}

// Program is a graph lowered onto a device. See the package documentation for
// its life and for concurrency.
type Program struct {
	dev      devices.Device
	sel      *selector
	g        *graph.Graph // after inlining, in the order of execution
	names    map[graph.Value]string
	fixed    map[string]int
	syms     []graph.Sym // free
	maxPlans int

	vals    []value
	id      map[graph.Value]int
	steps   []*step // nodes that run every step, in order
	inputs  []int   // value of each input
	states  []int   // value of each state
	outs    []int   // value of each output
	need    []stored
	inlined []string // ops replaced by their bodies, for Explain

	mu      sync.Mutex
	loaded  bool
	closed  bool
	runs    int // open runs
	weights map[stored]location
	packed  devices.Buffer // where the packed ones lie
	read    int            // bytes of params taken from the source
}

// location is where a value lies.
type location struct {
	buf   devices.Buffer
	off   int
	bytes int
}

// Compile lowers g onto dev. The error joins everything found, with the
// positions of the nodes.
func Compile(g *graph.Graph, dev devices.Device, opts ...Option) (*Program, error) {
	c := config{fixed: map[string]int{}, plans: 256}
	for _, o := range opts {
		o(&c)
	}
	p := &Program{dev: dev, maxPlans: c.plans, weights: map[stored]location{}}
	if err := p.fixSyms(g, c.fixed); err != nil {
		return nil, fmt.Errorf("compile %s for %s: %w", g.Name, dev.Name(), err)
	}
	err := p.selectKernels(g)
	if err == nil {
		err = p.lower()
	}
	if err != nil {
		return nil, fmt.Errorf("compile %s for %s: %w", g.Name, dev.Name(), err)
	}
	return p, nil
}

func (p *Program) fixSyms(g *graph.Graph, fixed map[string]int) error {
	p.fixed = map[string]int{}
	var errs []error
	for name, v := range fixed {
		s, ok := g.Sym(name)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("cannot fix symbol %s: the graph has none of that name", name))
		case v < s.Min || v > s.Max:
			errs = append(errs, fmt.Errorf("cannot fix symbol %s to %d: allowed is %d..%d", name, v, s.Min, s.Max))
		}
		p.fixed[name] = v
	}
	for _, s := range g.Syms {
		if _, ok := p.fixed[s.Name]; ok {
			continue
		}
		if s.Min == s.Max {
			p.fixed[s.Name] = s.Min
			continue
		}
		p.syms = append(p.syms, s)
	}
	if len(p.syms) > maxSyms {
		errs = append(errs, fmt.Errorf("%d free symbols, at most %d are supported: fix some", len(p.syms), maxSyms))
	}
	return errors.Join(errs...)
}

// selectKernels decides which kernels each node may use, and inlines fused ops
// for which there is none. Inlined bodies may hold further fused ops, so this
// repeats; every round removes a level of nesting.
func (p *Program) selectKernels(g *graph.Graph) error {
	probes := p.probes()
	for {
		order, err := graph.Schedule(g)
		if err != nil {
			return err
		}
		g = &graph.Graph{Name: g.Name, Syms: g.Syms, Nodes: order, Outs: g.Outs}
		p.g, p.sel = g, newSelector(p.dev, g, probes)
		inline := map[*graph.Node]bool{}
		var errs []error
		for _, n := range g.Nodes {
			if graph.IsSource(n.Op) || n.Op.View {
				continue
			}
			err := p.sel.consider(n)
			switch {
			case err == nil:
			case n.Op.Body != nil:
				inline[n] = true
				p.inlined = append(p.inlined, err.Error())
			default:
				errs = append(errs, err)
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
		if len(inline) == 0 {
			p.sel.settle()
			return nil
		}
		g, err = graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if !inline[n] {
				return nil, false
			}
			out, err := n.Op.Inline(rw.B, n.Attrs, rw.GetAll(n.In))
			if err != nil {
				rw.B.Errorf("inline %s: %w", n.Op.Name, err)
			}
			return out, true
		})
		if err != nil {
			return err
		}
	}
}

// Graph is the program's graph after inlining, in the order of execution.
func (p *Program) Graph() *graph.Graph { return p.g }

// Device is the device the program was compiled for.
func (p *Program) Device() devices.Device { return p.dev }

// Syms lists the symbols that every step gives a value for, in order.
func (p *Program) Syms() []graph.Sym { return append([]graph.Sym(nil), p.syms...) }

// Input is the handle of an input: its index.
type Input int

// Input returns the handle of the named input.
func (p *Program) Input(name string) (Input, error) {
	for i, v := range p.inputs {
		if graph.SourceName(p.vals[v].v.Node()) == name {
			return Input(i), nil
		}
	}
	return 0, fmt.Errorf("graph %s has no input %q", p.g.Name, name)
}

// Inputs lists the input nodes; the index is the handle.
func (p *Program) Inputs() []*graph.Node { return nodes(p, p.inputs) }

// States lists the state nodes.
func (p *Program) States() []*graph.Node { return nodes(p, p.states) }

// Outputs lists the types of the outputs; the index is the handle.
func (p *Program) Outputs() []graph.Type {
	ts := make([]graph.Type, len(p.outs))
	for i, v := range p.outs {
		ts[i] = p.vals[v].v.Type()
	}
	return ts
}

func nodes(p *Program, ids []int) []*graph.Node {
	ns := make([]*graph.Node, len(ids))
	for i, v := range ids {
		ns[i] = p.vals[v].v.Node()
	}
	return ns
}
