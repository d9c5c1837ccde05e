package passes_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// deep is a training step of a model with many activations beside its params.
func deep(t testing.TB, layers, width, tokens int) *graph.Graph {
	t.Helper()
	cfg, err := bitnet158.Preset("nano")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Layers, cfg.Vocab, cfg.Hidden, cfg.FFN, cfg.Heads, cfg.KVHeads, cfg.HeadDim = layers, 40, width, 2*width, 2, 1, width/2
	b := graph.NewBuilder("deep")
	tok := layer.Inputs(b, tokens)
	g, err := b.Finish(ops.CrossEntropy(bitnet158.Declare(b, cfg, tok), b.Input("targets", graph.I32, tok.IDs.Dim(0))))
	if err != nil {
		t.Fatal(err)
	}
	g, err = passes.Train(passes.TrainOptions{AdamW: passes.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1},
		Spread: passes.Spread{Accumulate: true}}).Run(g, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func planned(t testing.TB, tokens int) func(g *graph.Graph) (int, error) {
	dev := ref.Device(ref.Options{Threads: 1})
	t.Cleanup(func() { dev.Close() })
	return func(g *graph.Graph) (int, error) {
		p, err := runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens))
		if err != nil {
			return 0, err
		}
		m, err := p.Memory()
		return m.Arena, errors.Join(err, p.Close())
	}
}

// TestRecompute: for budgets down to the least, the plan fits, and loss and
// gradients are the same bits; a smaller one is refused with that number.
func TestRecompute(t *testing.T) {
	const tokens = 96
	g := deep(t, 6, 16, tokens)
	r := rand.New(rand.NewPCG(1, 2))
	env := graph.Env{Inputs: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
	for _, n := range g.Inputs() {
		dims, _ := n.Out[0].Shape.Eval(map[string]int{layer.TokensSym: tokens})
		x := graph.NewTensor(n.Out[0].Elem, dims...)
		switch graph.SourceName(n) {
		case layer.PosInput:
			for i := range x.I32() {
				x.I32()[i] = int32(i)
			}
		case layer.TokensInput, "targets":
			for i := range x.I32() {
				x.I32()[i] = r.Int32N(40)
			}
		case passes.LossShareInput, passes.FirstInput:
			x.F32()[0] = 1
		}
		env.Inputs[graph.SourceName(n)] = x
	}
	for _, n := range g.States() {
		dims, _ := n.Out[0].Shape.Eval(nil)
		x := graph.NewTensor(graph.F32, dims...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.NormFloat64()) * 0.3
		}
		env.States[graph.SourceName(n)] = x
	}
	eval := func(g *graph.Graph) *graph.Result {
		t.Helper()
		res, err := graph.Eval(g, env)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := eval(g)
	measure := planned(t, tokens)
	fit := func(budget int) (*graph.Graph, passes.Recomputation, error) {
		var rep passes.Recomputation
		out, err := passes.Pipeline{passes.Recompute(passes.RecomputeOptions{
			Budget: budget, Measure: measure, Syms: map[string]int{layer.TokensSym: tokens},
			Report: func(r passes.Recomputation) { rep = r },
		})}.Run(g, nil)
		return out, rep, err
	}
	_, _, err := fit(1)
	var b *passes.BudgetError
	if !errors.As(err, &b) || b.Least >= b.Before {
		t.Fatalf("a budget of one byte: %v", err)
	}
	t.Logf("%d bytes without, at least %d", b.Before, b.Least)
	if b.Least > b.Before/2 {
		t.Errorf("the least is %d of %d bytes: more than half", b.Least, b.Before)
	}
	nodes := 0
	for _, budget := range []int{b.Before, b.Before * 9 / 10, b.Before * 7 / 10, (b.Before + b.Least) / 2, b.Least} {
		out, rep, err := fit(budget)
		if err != nil {
			t.Fatalf("budget %d: %v", budget, err)
		}
		if got, err := measure(out); err != nil || got > budget || got != rep.After || rep.Before != b.Before {
			t.Errorf("budget %d: the plan takes %d (%v), reported %+v", budget, got, err, rep)
		}
		if rep.Nodes < nodes {
			t.Errorf("budget %d: %d nodes twice, a larger one took %d", budget, rep.Nodes, nodes)
		}
		nodes = rep.Nodes
		t.Logf("budget %d: %+v", budget, rep)
		got := eval(out)
		for name, w := range want.States {
			if d := cmp.Diff(w.F32(), got.States[name].F32()); d != "" {
				t.Errorf("budget %d: %s differs: %.600s", budget, name, d)
			}
		}
		if d := cmp.Diff(want.Outs, got.Outs); d != "" {
			t.Errorf("budget %d: another loss: %s", budget, d)
		}
	}
	if nodes == 0 {
		t.Error("nothing runs twice")
	}
}
