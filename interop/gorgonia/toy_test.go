package gorgonia

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/ops/ternary"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// toy is a regression whose solution is a ternary matrix.
type toy struct {
	rows, k, n int
	codes      []int8 // [k,n]
	x, y       *tensor.Dense
}

func newToy() *toy {
	t := &toy{rows: 128, k: 32, n: 16}
	r := rand.New(rand.NewPCG(5, 12))
	t.codes = make([]int8, t.k*t.n)
	for i := range t.codes {
		t.codes[i] = int8(r.IntN(3) - 1)
	}
	xs, ys := make([]float32, t.rows*t.k), make([]float32, t.rows*t.n)
	for i := range xs {
		xs[i] = float32(r.NormFloat64())
	}
	for i := range t.rows {
		for j := range t.n {
			for l := range t.k {
				ys[i*t.n+j] += 0.5 * xs[i*t.k+l] * float32(t.codes[l*t.n+j])
			}
		}
	}
	t.x = tensor.New(tensor.WithShape(t.rows, t.k), tensor.WithBacking(xs))
	t.y = tensor.New(tensor.WithShape(t.rows, t.n), tensor.WithBacking(ys))
	return t
}

// graph is the regression with BitLinear inside Gorgonia; plain is the same with
// Gorgonia's own Mul.
func (t *toy) graph(linear func(x, w *G.Node) (*G.Node, error)) (g *G.ExprGraph, x, y, w, loss *G.Node) {
	r := rand.New(rand.NewPCG(1, 2))
	init := make([]float32, t.k*t.n)
	for i := range init {
		init[i] = float32(r.NormFloat64()) * 0.2
	}
	g = G.NewGraph()
	x = G.NewMatrix(g, tensor.Float32, G.WithShape(t.rows, t.k), G.WithName("x"))
	y = G.NewMatrix(g, tensor.Float32, G.WithShape(t.rows, t.n), G.WithName("y"))
	w = G.NewMatrix(g, tensor.Float32, G.WithShape(t.k, t.n), G.WithName("w"),
		G.WithValue(tensor.New(tensor.WithShape(t.k, t.n), tensor.WithBacking(init))))
	diff := must(G.Sub(must(linear(x, w)), y))
	loss = must(G.Mean(must(G.Square(diff))))
	return g, x, y, w, loss
}

// recovered counts the weights whose ternary code is the solution's.
func (t *toy) recovered(w []float32) int {
	s, n := ternary.InverseScale(w), 0
	for i, v := range w {
		if ternary.Code(v, s) == t.codes[i] {
			n++
		}
	}
	return n
}

func (t *toy) check(tb testing.TB, w G.Value) {
	tb.Helper()
	if got := t.recovered(w.Data().([]float32)); got != 512 {
		tb.Errorf("%d of 512 weights recovered", got)
	}
}

const toySteps = 600

func TestToyOnTheTapeMachine(t *testing.T) {
	toy := newToy()
	g, x, y, w, loss := toy.graph(BitLinear)
	if n := toy.recovered(w.Value().Data().([]float32)); n > 400 {
		t.Fatalf("%d weights are right before training", n)
	}
	if _, err := G.Grad(loss, w); err != nil {
		t.Fatal(err)
	}
	m := G.NewTapeMachine(g, G.BindDualValues(w))
	defer m.Close()
	solver := G.NewAdamSolver(G.WithLearnRate(0.01))
	for range toySteps {
		if err := G.Let(x, toy.x); err != nil {
			t.Fatal(err)
		}
		if err := G.Let(y, toy.y); err != nil {
			t.Fatal(err)
		}
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step([]G.ValueGrad{w}); err != nil {
			t.Fatal(err)
		}
		m.Reset()
	}
	toy.check(t, w.Value())
}

func TestToyOnTheLispMachine(t *testing.T) {
	toy := newToy()
	g, x, y, w, _ := toy.graph(BitLinear)
	if err := G.Let(x, toy.x); err != nil {
		t.Fatal(err)
	}
	if err := G.Let(y, toy.y); err != nil {
		t.Fatal(err)
	}
	solver := G.NewAdamSolver(G.WithLearnRate(0.01))
	for range toySteps {
		// A lisp machine resumes at the last node after Reset: make a new one.
		m := G.NewLispMachine(g)
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step([]G.ValueGrad{w}); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	toy.check(t, w.Value())
}

// TestToyImported trains the same regression from Gorgonia's plain graph: its
// product becomes a BitLinear on import.
func TestToyImported(t *testing.T) {
	ctx := context.Background()
	toy := newToy()
	g, x, y, w, loss := toy.graph(G.Mul)
	tg, params, err := Import(g, G.Nodes{loss}, Batch("B", 1, 512, x, y))
	if err != nil {
		t.Fatal(err)
	}
	if tg, err = Ternarize(tg, Named("w")); err != nil {
		t.Fatal(err)
	}
	tr, err := NewTrainer(ctx, tg, params, device(t), AdamW{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	in := map[string]*tensor.Dense{"x": toy.x, "y": toy.y}
	var first, last float64
	for i := range toySteps {
		if last, err = tr.Step(ctx, in, 0.01, 0); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = last
		}
	}
	if err := tr.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	toy.check(t, w.Value())
	t.Logf("loss %.3g to %.3g", first, last)
	// The plan holds no transpose: the weight is read as Gorgonia stores it.
	for _, n := range tr.Program().Graph().Nodes {
		if n.Op.Name == "transpose" {
			t.Errorf("the training step transposes: %s", n.Where())
		}
	}
}
