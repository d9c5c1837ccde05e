// Package passes rewrites graphs: it inserts quantizers, differentiates,
// introduces the key/value cache, lowers BitLinear to integer ops and fuses.
// A [Pipeline] is an ordinary list; users add passes and fusions of their own
// to it.
package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// Pass is one rewrite. Run must not change its argument.
type Pass struct {
	Name string // as in "trit dump --after NAME"
	Run  func(*graph.Graph) (*graph.Graph, error)
}

// Pipeline is a list of passes, run in order.
type Pipeline []Pass

// Trace is called with the graph after each pass, and before the first one with
// an empty name.
type Trace func(pass string, g *graph.Graph)

// Run applies the passes in order and verifies the graph after each. trace may
// be nil.
func (p Pipeline) Run(g *graph.Graph, trace Trace) (*graph.Graph, error) {
	if trace == nil {
		trace = func(string, *graph.Graph) {}
	}
	trace("", g)
	for _, pass := range p {
		next, err := pass.Run(g)
		if err != nil {
			return nil, fmt.Errorf("pass %s: %w", pass.Name, err)
		}
		if err := graph.Verify(next, graph.AnyPhase); err != nil {
			return nil, fmt.Errorf("pass %s left an invalid graph: %w", pass.Name, err)
		}
		g = next
		trace(pass.Name, g)
	}
	return g, nil
}

// Names lists the passes in order.
func (p Pipeline) Names() []string {
	names := make([]string, len(p))
	for i, pass := range p {
		names[i] = pass.Name
	}
	return names
}

// Insert returns the pipeline with passes added after the named one.
func (p Pipeline) Insert(after string, more ...Pass) (Pipeline, error) {
	for i, pass := range p {
		if pass.Name == after {
			out := append(Pipeline(nil), p[:i+1]...)
			return append(append(out, more...), p[i+1:]...), nil
		}
	}
	return nil, fmt.Errorf("no pass %q in %v", after, p.Names())
}

// rewrite is a pass made of one graph.Rewrite callback.
func rewrite(name string, fn func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool)) Pass {
	return Pass{name, func(g *graph.Graph) (*graph.Graph, error) { return graph.Rewrite(g, fn) }}
}

// DCE drops nodes that no output and no state update needs.
func DCE() Pass {
	return rewrite("dce", func(*graph.Rewriter, *graph.Node) ([]graph.Value, bool) { return nil, false })
}

// inlineOne replaces n by the body of its op.
func inlineOne(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
	out, err := n.Op.Inline(rw.B, n.Attrs, rw.GetAll(n.In))
	if err != nil {
		return []graph.Value{rw.B.Errorf("%s: %w", n.Op.Name, err)}, true
	}
	return out, true
}

// Inline replaces every fused op for which keep is false by its body, until
// none is left. A nil keep keeps nothing.
func Inline(keep func(*graph.OpDef) bool) Pass {
	return Pass{"inline", func(g *graph.Graph) (*graph.Graph, error) {
		for {
			again := false
			next, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
				if n.Op.Body == nil || keep != nil && keep(n.Op) {
					return nil, false
				}
				again = true
				return inlineOne(rw, n)
			})
			if err != nil || !again {
				return next, err
			}
			g = next
		}
	}}
}
