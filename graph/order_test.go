package graph_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"pgregory.net/rapid"
)

// environment makes values for a random graph's sources: up to six tokens of
// one sequence.
func environment(r *rand.Rand, g *graph.Graph) graph.Env {
	env := graph.Env{Inputs: map[string]graph.Tensor{}, Params: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
	s := 1 + r.IntN(6)
	fill := func(n *graph.Node) graph.Tensor {
		dims, _ := n.Out[0].Shape.Eval(map[string]int{"S": s})
		x := graph.NewTensor(n.Out[0].Elem, dims...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.NormFloat64())
		}
		return x
	}
	for _, n := range g.Inputs() {
		env.Inputs[graph.SourceName(n)] = fill(n)
	}
	for i := range env.Inputs["pos"].I32() {
		env.Inputs["pos"].I32()[i] = int32(i)
	}
	for _, n := range g.Params() {
		env.Params[graph.SourceName(n)] = fill(n)
	}
	for _, n := range g.States() {
		env.States[graph.SourceName(n)] = fill(n)
	}
	return env
}

// TestValuesDoNotDependOnOrder evaluates random graphs, the same graphs with
// independent nodes shuffled, scheduled, and read back from text.
func TestValuesDoNotDependOnOrder(t *testing.T) {
	set := allOps()
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 2))
		env := environment(r, g)
		want, err := graph.Eval(g, env)
		if err != nil {
			rt.Fatal(err)
		}
		back, err := graph.Parse(strings.NewReader(g.String()), set)
		if err != nil {
			rt.Fatal(err)
		}
		order, err := graph.Schedule(g)
		if err != nil {
			rt.Fatal(err)
		}
		shuffled, scheduled := *g, *g
		shuffled.Nodes, scheduled.Nodes = shuffle(r, g), order
		for name, h := range map[string]*graph.Graph{"shuffled": &shuffled, "scheduled": &scheduled, "parsed": back} {
			got, err := graph.Eval(h, env)
			if err != nil {
				rt.Fatalf("%s: %v", name, err)
			}
			equal := func(x, y graph.Tensor) bool { return x.Type().Equal(y.Type()) && bytes.Equal(x.Data, y.Data) }
			if !slices.EqualFunc(want.Outs, got.Outs, equal) || !maps.EqualFunc(want.States, got.States, equal) {
				rt.Fatalf("%s: results differ\n%s", name, g)
			}
		}
	})
}
