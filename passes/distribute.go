package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
)

// LossShareInput is the input f32[] that WeighLoss adds.
const LossShareInput = "loss_share"

// WeighLoss multiplies the loss, the first output, by an input: the share that
// the tokens counted by this micro-batch on this rank have in all that a step
// counts. The sum of such losses, and so of their gradients, is then that of one
// large batch, a mean over tokens, however unevenly tokens are spread.
func WeighLoss() Pass {
	return Pass{"weigh-loss", func(g *graph.Graph) (*graph.Graph, error) {
		if len(g.Outs) == 0 {
			return nil, fmt.Errorf("the graph has no loss")
		}
		b, m := graph.Reopen(g)
		outs := make([]graph.Value, len(g.Outs))
		for i, v := range g.Outs {
			outs[i] = m[v]
		}
		outs[0] = b.Name(ops.Mul(outs[0], b.Input(LossShareInput, graph.F32)), "loss")
		return b.Finish(outs...)
	}}
}

// Gradient precedes a param's name in that of its accumulated gradient.
const Gradient = "grad/"

// FirstInput is the input f32[] of an accumulating step that is not 0 on the
// first micro-batch of a step; see ops.AccumulateOp.
const FirstInput = "first"

// Accumulate turns trained params into states and adds their gradients, the last
// outputs, to states of their own, which the outputs no longer list. Its graph
// takes turns with one of Update, over the same states.
func Accumulate(want func(param string) bool) Pass {
	return Pass{"accumulate", func(g *graph.Graph) (*graph.Graph, error) {
		state, params, err := paramStates(g, want)
		if err != nil {
			return nil, err
		}
		keep := len(g.Outs) - len(params)
		if keep < 1 {
			return nil, fmt.Errorf("%d outputs for %d params; run the grad pass first", len(g.Outs), len(params))
		}
		of := map[graph.Value][]*graph.Node{} // params by gradient
		for i, d := range state.Outs[keep:] {
			of[d] = append(of[d], params[i])
		}
		rest := *state
		rest.Outs = state.Outs[:keep]
		// Each gradient is added where it is made, so that it does not wait in
		// memory for the others.
		return graph.Rewrite(&rest, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			var out []graph.Value
			for i, v := range n.Results() {
				for _, p := range of[v] {
					if out == nil {
						out = rw.Copy(n)
					}
					acc := rw.B.State(Gradient+graph.SourceName(p), graph.F32, p.Out[0].Shape...)
					ops.AccumulateOp.Emit(graph.None{}, acc, out[i], rw.InputOnce(FirstInput, graph.F32))
				}
			}
			return out, out != nil
		})
	}}
}

// paramStates turns the wanted params of g into states of the same names, and
// lists the params.
func paramStates(g *graph.Graph, want func(param string) bool) (*graph.Graph, []*graph.Node, error) {
	trained := map[*graph.Node]bool{}
	var params []*graph.Node
	for _, p := range g.Params() {
		if want == nil || want(graph.SourceName(p)) {
			trained[p] = true
			params = append(params, p)
		}
	}
	s, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if !trained[n] {
			return nil, false
		}
		t := n.Out[0]
		return []graph.Value{rw.B.State(graph.SourceName(n), t.Elem, t.Shape...)}, true
	})
	return s, params, err
}

// AccumulatedGradients is a graph whose only outputs are the gradients that
// Accumulate left in states, one for each param of loss that is wanted, in
// order. The Update pipeline turns it into the program that applies them.
func AccumulatedGradients(loss *graph.Graph, want func(param string) bool) (*graph.Graph, error) {
	b := graph.NewBuilder("update")
	var outs []graph.Value
	for _, p := range loss.Params() {
		name, t := graph.SourceName(p), p.Out[0]
		if want != nil && !want(name) {
			continue
		}
		dims, err := t.Shape.Eval(nil)
		if err != nil {
			return nil, fmt.Errorf("param %q: %w", name, err)
		}
		b.Param(name, t.Elem, dims...)
		outs = append(outs, b.State(Gradient+name, graph.F32, t.Shape...))
	}
	return b.Finish(outs...)
}

// AllReduce sums the last outputs, one for each wanted param, over ranks. With
// shard each rank keeps its own part of the sums only, for an optimizer that is
// sharded in the same way.
func AllReduce(a collective.Attrs, shard bool, want func(param string) bool) Pass {
	return Pass{"all-reduce", func(g *graph.Graph) (*graph.Graph, error) {
		n := 0
		for _, p := range g.Params() {
			if want == nil || want(graph.SourceName(p)) {
				n++
			}
		}
		if len(g.Outs) < n {
			return nil, fmt.Errorf("%d outputs for %d params; run the grad pass first", len(g.Outs), n)
		}
		b, m := graph.Reopen(g)
		defer b.Scope("all_reduce")()
		var outs []graph.Value
		for i, v := range g.Outs {
			v = m[v]
			switch {
			case i < len(g.Outs)-n:
			case shard:
				v = collective.ReduceScatter(v, a)
			default:
				v = collective.AllReduce(v, a.Ranks)
			}
			outs = append(outs, v)
		}
		return b.Finish(outs...)
	}}
}
