package passes

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// RecomputeOptions configures Recompute.
type RecomputeOptions struct {
	// Budget is the most bytes that Measure may report.
	Budget int
	// Measure is the bytes a graph needs when it is compiled and planned. It is
	// asked a few times; in between the pass uses an estimate of its own.
	Measure func(*graph.Graph) (int, error)
	// Cost estimates the time of a node of the graph the pass is given, in any
	// unit; nil takes the bytes that the node reads and writes.
	Cost func(*graph.Node) float64
	// Syms are the values of the graph's symbols.
	Syms map[string]int
	// Report, if not nil, is told what was decided.
	Report func(Recomputation)
}

// Recomputation is what a budget led to.
type Recomputation struct {
	Before, After int     // bytes, as measured
	Nodes         int     // nodes that run a second time
	Cost          float64 // of those, as a share of all nodes' cost
}

// BudgetError says that no choice of recomputed values that was found fits.
type BudgetError struct {
	Budget, Least, Before int // bytes: wanted, the smallest reached, and without recomputation
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("a step needs at least %d bytes (%.1f MB) with activations recomputed, %.1f MB without; the budget is %.1f MB: raise it, or use smaller micro-batches",
		e.Least, float64(e.Least)/1e6, float64(e.Before)/1e6, float64(e.Budget)/1e6)
}

// Recompute makes a training step fit a memory budget: values of the forward
// pass that the backward pass needs again are computed a second time instead of
// kept (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
// Losses and gradients are the same bits, because the same ops run on the same
// values.
//
// Which values is decided by how many bytes they hold while too much is in use
// against what it costs to compute them from what is kept; afterwards those that
// turn out not to be needed are kept again. The pass stands last: equal nodes
// must not be merged after it.
func Recompute(o RecomputeOptions) Pass {
	return Pass{"recompute", func(g *graph.Graph) (*graph.Graph, error) {
		order, err := graph.Schedule(g)
		if err != nil {
			return nil, err
		}
		g = &graph.Graph{Name: g.Name, Syms: g.Syms, Nodes: order, Outs: g.Outs}
		before, err := o.Measure(g)
		if err != nil {
			return nil, err
		}
		r := Recomputation{Before: before, After: before}
		if before > o.Budget {
			m, err := newLiveness(g, o.Syms, o.Cost)
			if err != nil {
				return nil, err
			}
			if g, err = fit(m, o, &r); err != nil {
				return nil, err
			}
		}
		if o.Report != nil {
			o.Report(r)
		}
		return g, nil
	}}
}

// rounds is how often an estimate is corrected by a measurement.
const rounds = 6

// fit lowers the target of the estimate until the measurement is in the budget.
func fit(m *liveness, o RecomputeOptions, r *Recomputation) (*graph.Graph, error) {
	again := make([]bool, len(m.nodes))
	target := m.run(again, 0).peak - (r.Before - o.Budget)
	measured := r.Before
	try := func(set []bool) (*graph.Graph, error) {
		g, err := m.rewrite(set)
		if err != nil {
			return nil, err
		}
		if measured, err = o.Measure(g); err != nil {
			return nil, err
		}
		if measured > o.Budget {
			return nil, nil
		}
		s := m.run(set, 0)
		r.After, r.Nodes, r.Cost = measured, s.nodes, s.cost/m.total
		return g, nil
	}
	for range rounds {
		if target <= 0 {
			break
		}
		set, ok := m.choose(again, target)
		if !ok {
			break
		}
		g, err := try(m.spare(set, target))
		if g != nil || err != nil {
			return g, err
		}
		target -= measured - o.Budget
	}
	// The least that can be found; a budget of what it measures ends here too.
	set, _ := m.choose(again, 0)
	if g, err := try(set); g != nil || err != nil {
		return g, err
	}
	return nil, &BudgetError{Budget: o.Budget, Least: measured, Before: r.Before}
}

var errNoLoss = errors.New("the graph has no loss")
