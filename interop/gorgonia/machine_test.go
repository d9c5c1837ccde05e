package gorgonia

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// TestTernarizedMachine compares integer products on the device with BitLinear
// inside Gorgonia, for weights on every side of a product.
func TestTernarizedMachine(t *testing.T) {
	build := func(mul func(x, w *G.Node) (*G.Node, error)) (*G.ExprGraph, *G.Node, *G.Node) {
		g := G.NewGraph()
		x := input(g, "x", 7, 24)
		h := must(G.Rectify(must(mul(x, weight(g, "w.in", 24, 16)))))
		h = must(mul(h, must(G.Transpose(weight(g, "w.out", 8, 16)))))
		return g, x, h
	}
	in := filled("data", 7, 24)
	g, x, out := build(BitLinear)
	if err := G.Let(x, in); err != nil {
		t.Fatal(err)
	}
	var want G.Value
	G.Read(out, &want)
	tape := G.NewTapeMachine(g)
	defer tape.Close()
	if err := tape.RunAll(); err != nil {
		t.Fatal(err)
	}
	g, x, out = build(G.Mul)
	// The same layer with activations in columns: (w·xᵀ)ᵀ.
	side := must(G.Transpose(must(G.Mul(weight(g, "w.left", 5, 8), must(G.Transpose(out))))))
	imported, params, err := Import(g, G.Nodes{out, side}, Batch("B", 1, 64, x))
	if err != nil {
		t.Fatal(err)
	}
	ternary, err := Ternarize(imported, Named("w.*"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(ternary.String(), "= bitlinear("); n != 3 {
		t.Errorf("%d of 3 products are ternary:\n%s", n, ternary)
	}
	m, err := NewMachine(context.Background(), ternary, params, device(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	outs, err := m.Run(context.Background(), map[string]*tensor.Dense{"x": in})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "output", numbers(want), outs[0].Float32s())
	// The reference runs the training form.
	fake, err := passes.Eval(false).Run(ternary, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := FromDense(in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := graph.Eval(fake, graph.Env{Params: params, Inputs: map[string]graph.Tensor{"x": data}})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "columns", res.Outs[1].F32(), outs[1].Float32s())
	for _, n := range fake.Nodes {
		if n.Op.Name == "transpose" {
			t.Errorf("a transpose is left in the training form: %s", n.Where())
		}
	}
	if _, err := Ternarize(imported, Named("v*", "[")); err == nil || !strings.Contains(err.Error(), "w.left") {
		t.Errorf("nothing chosen: %v", err)
	}
	if times, err := m.Profile(context.Background()); err != nil || len(times) == 0 {
		t.Errorf("no profile: %v", err)
	}
}

// TestIndices imports a look-up of rows, whose indices are ints in Gorgonia.
func TestIndices(t *testing.T) {
	g := G.NewGraph()
	table := weight(g, "table", 6, 4)
	ids := G.NewVector(g, tensor.Int, G.WithShape(5), G.WithName("ids"))
	loss := must(G.Sum(must(G.Square(must(G.ByIndices(table, ids, 0))))))
	out, params, err := Import(g, G.Nodes{loss}, Batch("B", 1, 9, ids))
	if err != nil {
		t.Fatal(err)
	}
	grads, err := passes.Pipeline{passes.Grad(nil)}.Run(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMachine(context.Background(), grads, params, device(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in := tensor.New(tensor.WithShape(5), tensor.WithBacking([]int{5, 0, 5, 2, 2}))
	outs, err := m.Run(context.Background(), map[string]*tensor.Dense{"ids": in})
	if err != nil {
		t.Fatal(err)
	}
	d := must2(G.Grad(loss, table))
	if err := G.Let(ids, in); err != nil {
		t.Fatal(err)
	}
	tape := G.NewTapeMachine(g)
	defer tape.Close()
	if err := tape.RunAll(); err != nil {
		t.Fatal(err)
	}
	near(t, "loss", numbers(loss.Value()), outs[0].Float32s())
	near(t, "gradient", numbers(d[0].Value()), outs[1].Float32s())
	for name, bad := range map[string][]int{"outside": {6, 0, 0, 0, 0}, "too large": {1 << 40, 0, 0, 0, 0}} {
		in := tensor.New(tensor.WithShape(5), tensor.WithBacking(bad))
		if _, err := m.Run(context.Background(), map[string]*tensor.Dense{"ids": in}); err == nil {
			t.Errorf("an index %s is accepted", name)
		}
	}
}

func TestMistakes(t *testing.T) {
	ctx := context.Background()
	build := func() (*graph.Graph, Params) {
		g := G.NewGraph()
		x := input(g, "x", 3, 4)
		out, params, err := Import(g, G.Nodes{must(G.Mean(must(G.Mul(x, weight(g, "w", 4, 2)))))}, Batch("B", 1, 9, x))
		if err != nil {
			t.Fatal(err)
		}
		return out, params
	}
	g, params := build()
	if _, err := NewMachine(ctx, g, Params{}, device(t)); !errors.Is(err, runtime.ErrMissing) {
		t.Errorf("a machine without weights: %v", err)
	}
	if _, err := NewTrainer(ctx, g, Params{}, device(t), AdamW{}); !errors.Is(err, runtime.ErrMissing) {
		t.Errorf("a trainer without weights: %v", err)
	}
	m, err := NewMachine(ctx, g, params, device(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tr, err := NewTrainer(ctx, g, params, device(t), AdamW{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	wide := tensor.New(tensor.WithShape(3, 4), tensor.Of(tensor.Float64))
	for name, in := range map[string]map[string]*tensor.Dense{
		"nothing":      {},
		"nil":          {"x": nil},
		"another name": {"x": filled("x", 3, 4), "y": filled("y", 1)},
		"another rank": {"x": filled("x", 12)},
		"another size": {"x": filled("x", 3, 5)},
		"batch of 10":  {"x": filled("x", 10, 4)},
		"float64":      {"x": wide},
	} {
		if _, err := m.Run(ctx, in); err == nil {
			t.Errorf("run with %s is accepted", name)
		}
		if _, err := tr.Step(ctx, in, 0.1, 0); err == nil {
			t.Errorf("step with %s is accepted", name)
		}
	}
	before := append([]float32(nil), params["w"].F32()...)
	if _, err := tr.Step(ctx, map[string]*tensor.Dense{"x": filled("x", 5, 4)}, 0.1, 0); err != nil {
		t.Fatal(err)
	}
	if params["w"].F32()[0] != before[0] {
		t.Error("the weights change before Sync")
	}
	if err := tr.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if params["w"].F32()[0] == before[0] {
		t.Error("Sync changes nothing")
	}
	if err := params.Set("v", params["w"]); err == nil {
		t.Error("an unknown param is set")
	}
	if err := params.Set("w", graph.NewTensor(graph.F32, 2, 4)); err == nil {
		t.Error("a param is set to another shape")
	}
	if _, err := NewTrainer(ctx, g, params, device(t), AdamW{Want: func(string) bool { return false }}); err == nil || !strings.Contains(err.Error(), "no param") {
		t.Errorf("a trainer of nothing: %v", err)
	}
}
