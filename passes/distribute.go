package passes

import (
	"cmp"
	"fmt"
	"slices"

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

// Update is the program that follows the micro-batches of a step: it sums the
// gradients that Accumulate left in states over ranks, clips and applies them to
// the params of loss. The only output is their global norm. trace may be nil.
func Update(loss *graph.Graph, o AdamW, s Spread, trace Trace) (*graph.Graph, error) {
	b := graph.NewBuilder("update")
	var params []*graph.Node
	var grads []graph.Value
	values := map[string]graph.Value{}
	for _, p := range loss.Params() {
		name, t := graph.SourceName(p), p.Out[0]
		if o.Want != nil && !o.Want(name) {
			continue
		}
		params = append(params, p)
		values[name] = b.State(name, t.Elem, t.Shape...)
		g := b.State(Gradient+name, graph.F32, t.Shape...)
		if s.Ranks.Ranks > 1 {
			g = reduce(g, s.Ranks, s.Shard)
		}
		grads = append(grads, g)
	}
	if s.Ranks.Ranks > 1 && s.Shard {
		o.Shard = s
	}
	norm, err := o.emit(b, params, func(name string) graph.Value { return values[name] }, grads)
	if err != nil {
		return nil, err
	}
	g, err := b.Finish(norm)
	if err != nil {
		return nil, err
	}
	return Pipeline{Fold(), CSE(), DCE()}.Run(g, trace)
}

// reduce sums a gradient over ranks.
func reduce(v graph.Value, a collective.Attrs, shard bool) graph.Value {
	switch {
	case shard:
		return collective.ReduceScatter(v, a)
	case v.Op() == graph.StateOp.OpDef:
		return collective.AllReduceInPlaceOp.One(collective.ReduceAttrs{Ranks: a.Ranks}, v)
	}
	return collective.AllReduce(v, a.Ranks)
}

// AllReduce sums the last outputs, one for each wanted param, over the ranks of s.
// With Shard each rank keeps its own part of the sums only, for an optimizer that
// is sharded in the same way.
//
// The sums of one bucket stand together, right behind the gradient that completes
// it: a device may take them for one exchange, and go on with the backward pass
// meanwhile.
func AllReduce(s Spread, want func(param string) bool) Pass {
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
		var outs, grads []graph.Value
		for i, v := range g.Outs {
			v = m[v]
			if i >= len(g.Outs)-n {
				grads = append(grads, v)
				v = reduce(v, s.Ranks, s.Shard)
			}
			outs = append(outs, v)
		}
		out, err := b.Finish(outs...)
		if err != nil {
			return nil, err
		}
		return s.inBuckets(out, grads)
	}}
}

// bucketBytes is large enough that an exchange takes several times what it takes
// to begin one, and small enough that a backward pass has many.
const bucketBytes = 8 << 20

// full reports whether an exchange of so many bytes is worth while.
func (s Spread) full(bytes int) bool { return bytes >= cmp.Or(s.Bucket, bucketBytes) }

// inBuckets moves the sums of grads, the last outputs, to where a bucket of them
// can be exchanged.
func (s Spread) inBuckets(g *graph.Graph, grads []graph.Value) (*graph.Graph, error) {
	at := map[*graph.Node]int{}
	for i, n := range g.Nodes {
		at[n] = i
	}
	made := make([]int, len(grads)) // in the order in which the backward pass ends with them
	for i := range made {
		made[i] = i
	}
	slices.SortStableFunc(made, func(i, j int) int { return cmp.Compare(at[grads[i].Node()], at[grads[j].Node()]) })
	behind := map[*graph.Node]int{} // a sum's bucket ends behind that node
	var bucket []*graph.Node
	bytes := 0
	for k, i := range made {
		n, err := constantBytes(grads[i].Type())
		if err != nil {
			return nil, err
		}
		bytes += n
		bucket = append(bucket, g.Outs[len(g.Outs)-len(grads)+i].Node())
		if s.full(bytes) || k == len(made)-1 {
			for _, sum := range bucket {
				behind[sum] = at[grads[i].Node()]
			}
			bucket, bytes = nil, 0
		}
	}
	nodes := slices.Clone(g.Nodes)
	slices.SortStableFunc(nodes, func(x, y *graph.Node) int {
		place := func(n *graph.Node) (int, int) {
			if i, ok := behind[n]; ok {
				return i, 1
			}
			return at[n], 0
		}
		xi, xb := place(x)
		yi, yb := place(y)
		return cmp.Or(cmp.Compare(xi, yi), cmp.Compare(xb, yb))
	})
	return &graph.Graph{Name: g.Name, Syms: g.Syms, Nodes: nodes, Outs: g.Outs}, nil
}

func constantBytes(t graph.Type) (int, error) {
	dims, err := t.Shape.Eval(nil)
	if err != nil {
		return 0, err
	}
	n, err := graph.Count(dims)
	return n * t.Elem.Size(), err
}
