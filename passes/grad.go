package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
)

// Grad differentiates the first output, a scalar loss, with respect to every
// param for which want is true (nil: all), and appends the gradients to the
// outputs in the order of the graph's params. A param that the loss does not
// depend on is an error: it would never be trained.
func Grad(want func(param string) bool) Pass {
	return Pass{"grad", func(g *graph.Graph) (*graph.Graph, error) {
		if len(g.Outs) == 0 {
			return nil, fmt.Errorf("the graph has no loss")
		}
		b, m := graph.Reopen(g)
		var wrt []graph.Value
		for _, p := range g.Params() {
			if want == nil || want(graph.SourceName(p)) {
				wrt = append(wrt, m[p.Result(0)])
			}
		}
		grads, err := graph.Gradients(b, m[g.Outs[0]], wrt, ops.Add)
		if err != nil {
			return nil, err
		}
		var outs []graph.Value
		for _, v := range g.Outs {
			outs = append(outs, m[v])
		}
		for i, d := range grads {
			name := graph.SourceName(wrt[i].Node())
			if !d.Valid() {
				return nil, fmt.Errorf("%s: the loss does not depend on param %q", wrt[i].Node().Where(), name)
			}
			outs = append(outs, b.Name(d, "d."+wrt[i].Hint()))
		}
		return b.Finish(outs...)
	}}
}

// AdamW configures the Optimizer pass.
type AdamW struct {
	Beta1, Beta2, Eps float64
	MaxNorm           float64 // global gradient norm; 0 does not clip
	// Decay reports whether a param's weights decay; nil: every param's.
	Decay func(param string, t graph.Type) bool
	// EMA, if above 0, keeps a moving average of each param beside it; see
	// ops.EMAOp and Average.
	EMA float64
	// Want must be the one given to Grad.
	Want func(param string) bool
	// Shard, with more than one rank, says that gradients are parts, as
	// AllReduce leaves them, and that this rank keeps and updates only its own
	// part of the moments and the params, which are gathered afterwards, in
	// buckets.
	Shard Spread
}

// HyperInput is the input f32[4] that carries a step's learning rate, weight
// decay and bias corrections; see ops.AdamWOp.
const HyperInput = "hyper"

// Names of the optimizer's moments for a param.
const (
	Moment1 = "adam.m/"
	Moment2 = "adam.v/"
)

// Average precedes a param's name in that of its moving average.
const Average = "ema/"

// Optimizer turns trained params into states and replaces their gradients among
// the outputs by AdamW updates in place. The outputs become the original ones
// and the gradients' global norm before clipping.
func Optimizer(o AdamW) Pass {
	return Pass{"optimizer", func(g *graph.Graph) (*graph.Graph, error) {
		state, params, err := paramStates(g, o.Want)
		if err != nil {
			return nil, err
		}
		keep := len(g.Outs) - len(params)
		if keep < 0 {
			return nil, fmt.Errorf("%d outputs for %d params; run the grad pass first", len(g.Outs), len(params))
		}
		b, m := graph.Reopen(state)
		defer b.Scope("optimizer")()
		byName := map[string]graph.Value{}
		for _, s := range state.States() {
			byName[graph.SourceName(s)] = m[s.Result(0)]
		}
		var outs, grads []graph.Value
		for i, v := range state.Outs {
			if i < keep {
				outs = append(outs, m[v])
			} else {
				grads = append(grads, m[v])
			}
		}
		norm, err := o.emit(b, params, func(name string) graph.Value { return byName[name] }, grads)
		if err != nil {
			return nil, err
		}
		return b.Finish(append(outs, norm)...)
	}}
}

// emit adds the updates of params, whose states are values, and returns the
// gradients' global norm.
func (o AdamW) emit(b *graph.Builder, params []*graph.Node, value func(param string) graph.Value, grads []graph.Value) (graph.Value, error) {
	var sq []graph.Value
	for _, g := range grads {
		sq = append(sq, ops.SqSumOp.One(graph.None{}, g))
	}
	ranks := o.Shard.Ranks
	sharded := ranks.Ranks > 1
	if sharded {
		sq = []graph.Value{totals(sq, ranks.Ranks)}
	}
	clip := ops.ClipOp.Emit(ops.ClipAttrs{Max: o.MaxNorm}, sq...)
	hyper := b.Input(HyperInput, graph.F32, graph.C(4))
	type update struct {
		name  string
		value graph.Value
	}
	var updated []update
	bytes := 0
	finish := func() {
		for i := range updated {
			if u := &updated[i]; sharded {
				u.value = collective.AllGather(u.value, ranks)
			}
		}
		for _, u := range updated {
			if o.EMA > 0 {
				ops.EMAOp.Emit(ops.EMAAttrs{Decay: o.EMA}, b.State(Average+u.name, graph.F32, u.value.Type().Shape...), u.value)
			}
		}
		updated, bytes = nil, 0
	}
	for i, p := range params {
		name, t := graph.SourceName(p), p.Out[0]
		a := ops.AdamWAttrs{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: 1}
		if o.Decay != nil && !o.Decay(name, t) {
			a.Decay = 0
		}
		part := t
		if sharded {
			var err error
			a.Part, a.Parts = ranks.Rank, ranks.Ranks
			if part, err = ops.PartType(t, a.Parts); err != nil {
				return graph.Value{}, fmt.Errorf("param %q: %w", name, err)
			}
		}
		next := ops.AdamWOp.Emit(a, value(name), grads[i],
			b.State(Moment1+name, graph.F32, part.Shape...), b.State(Moment2+name, graph.F32, part.Shape...), hyper, clip[0])[0]
		updated = append(updated, update{name, next})
		if !sharded {
			finish()
			continue
		}
		n, err := constantBytes(t)
		if err != nil {
			return graph.Value{}, fmt.Errorf("param %q: %w", name, err)
		}
		if bytes += n; o.Shard.full(bytes) {
			finish()
		}
	}
	finish()
	return b.Name(clip[1], "grad_norm"), nil
}

// totals adds up the scalars of each rank, and all of them.
func totals(xs []graph.Value, ranks int) graph.Value {
	rows := make([]graph.Value, len(xs))
	for i, x := range xs {
		rows[i] = ops.Reshape(x, graph.C(1))
	}
	return ops.Sum(collective.AllReduce(ops.Concat(0, rows[0], rows[1:]...), ranks))
}
