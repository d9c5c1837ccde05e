package gorgonia

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"

	G "gorgonia.org/gorgonia"
)

func reachable(g *G.ExprGraph, n *G.Node, seen map[*G.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	it := g.From(n.ID())
	for it != nil && it.Next() {
		reachable(g, it.Node().(*G.Node), seen)
	}
}

// TestRandomGraphs imports random graphs and compares values and gradients with
// what Gorgonia's tape machine computes.
func TestRandomGraphs(t *testing.T) {
	const graphs = 1500
	used := map[string]int{}
	worst, done, skipped := 0.0, 0, 0
	for seed := uint64(0); done < graphs; seed++ {
		e, ok := checkRandom(t, seed, used)
		if !ok {
			skipped++
			continue
		}
		worst = max(worst, e)
		done++
	}
	for _, op := range slices.Sorted(maps.Keys(used)) {
		if used[op] < 5 {
			t.Errorf("%s was drawn %d times only", op, used[op])
		}
	}
	t.Logf("%d graphs, %d drawn anew; the largest relative difference is %.2g", done, skipped, worst)
}

func checkRandom(t *testing.T, seed uint64, used map[string]int) (worst float64, ok bool) {
	b, loss := draw(seed)
	if b.err != nil {
		t.Logf("seed %d: %v", seed, b.err)
		return 0, false
	}
	seen := map[*G.Node]bool{}
	reachable(b.g, loss, seen)
	var wrt G.Nodes
	for _, n := range b.leaves {
		if seen[n] {
			wrt = append(wrt, n)
		}
	}
	g, params, err := Import(b.g, G.Nodes{loss})
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return 0, false
	}
	grads, err := passes.Pipeline{passes.Grad(nil)}.Run(g, nil)
	if err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, g)
		return 0, false
	}
	if _, err := graph.Parse(strings.NewReader(g.String()), opSet()); err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, g)
	}
	own := Params{}
	for name, p := range params {
		own[name] = p.Clone() // Gorgonia's machine may work in place
	}
	res, err := graph.Eval(grads, graph.Env{Params: own})
	if err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, g)
		return 0, false
	}
	if seed%20 == 0 {
		compiled(t, grads, own, res.Outs)
	}
	var value G.Value
	G.Read(loss, &value)
	ds, err := G.Grad(loss, wrt...)
	if err != nil {
		t.Logf("seed %d: %v", seed, err)
		return 0, false
	}
	vals := make([]G.Value, len(ds))
	for i, d := range ds {
		G.Read(d, &vals[i])
	}
	m := G.NewTapeMachine(b.g)
	defer m.Close()
	if err := m.RunAll(); err != nil {
		t.Logf("seed %d: %v", seed, err)
		return 0, false
	}
	for op, n := range b.used {
		used[op] += n
	}
	compare := func(what string, got graph.Tensor, v G.Value) {
		want := numbers(v)
		most := 1.0
		for _, x := range want {
			most = max(most, math.Abs(float64(x)))
		}
		if len(want) != got.Len() {
			t.Errorf("seed %d: %s has %d elements, Gorgonia's %d", seed, what, got.Len(), len(want))
			return
		}
		for i, x := range want {
			e := math.Abs(float64(x)-float64(got.F32()[i])) / most
			worst = max(worst, e)
			if !(e <= 1e-5) {
				t.Errorf("seed %d: %s[%d] is %g, Gorgonia's %g\n%s\n%v", seed, what, i, got.F32()[i], x, g, b.used)
				return
			}
		}
	}
	compare("loss", res.Outs[0], value)
	for i, p := range g.Params() {
		name := graph.SourceName(p)
		for j, n := range wrt {
			if n.Name() == name {
				compare("the gradient of "+name, res.Outs[1+i], vals[j])
			}
		}
	}
	return worst, true
}

// compiled runs the graph on the best device and compares with the references.
func compiled(t *testing.T, g *graph.Graph, p Params, want []graph.Tensor) {
	t.Helper()
	m, err := NewMachine(context.Background(), g, p, device(t))
	if err != nil {
		t.Errorf("%v\n%s", err, g)
		return
	}
	defer m.Close()
	outs, err := m.Run(context.Background(), nil)
	if err != nil {
		t.Errorf("%v\n%s", err, g)
		return
	}
	for i, o := range outs {
		near(t, fmt.Sprint("output ", i), want[i].F32(), o.Float32s())
	}
}

var testDevice = sync.OnceValues(func() (auto.Closer, error) {
	dev, _, err := auto.Open(auto.Options{})
	return dev, err
})

// device is shared by the tests.
func device(t testing.TB) devices.Device {
	t.Helper()
	dev, err := testDevice()
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func numbers(v G.Value) []float32 {
	switch d := v.Data().(type) {
	case []float32:
		return d
	case float32:
		return []float32{d}
	}
	return nil
}
