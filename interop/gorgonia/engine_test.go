package gorgonia

import (
	"fmt"
	"testing"

	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// TestEngine compares products by the engine with the standard one, for operands
// in every layout, and with fresh, reused and incremented results.
func TestEngine(t *testing.T) {
	e, err := NewEngine()
	if err != nil {
		t.Fatal(err)
	}
	make2 := func(name string, rows, cols int, layout string, eng tensor.Engine) *tensor.Dense {
		var d *tensor.Dense
		switch layout {
		case "plain":
			d = filled(name, rows, cols)
		case "transposed":
			d = filled(name, cols, rows)
			if err := d.T(); err != nil {
				t.Fatal(err)
			}
		case "view":
			v, err := filled(name, rows, cols+3).Slice(nil, G.S(1, cols+1))
			if err != nil {
				t.Fatal(err)
			}
			d = v.(*tensor.Dense)
		}
		tensor.WithEngine(eng)(d)
		return d
	}
	std := tensor.StdEng{}
	layouts := []string{"plain", "transposed"}
	for _, size := range [][3]int{{1, 1, 1}, {3, 5, 2}, {33, 40, 37}, {1, 300, 70}, {70, 300, 1}, {64, 1, 300}} {
		m, k, n := size[0], size[1], size[2]
		for _, la := range layouts {
			for _, lb := range layouts {
				name := fmt.Sprint(size, la, lb)
				want, err := tensor.MatMul(make2("a", m, k, la, std), make2("bb", k, n, lb, std))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				a, b := make2("a", m, k, la, e), make2("bb", k, n, lb, e)
				got, err := tensor.MatMul(a, b)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				near(t, name, floats(want), floats(got))
				reuse := tensor.New(tensor.WithShape(m, n), tensor.Of(tensor.Float32), tensor.WithEngine(e))
				if _, err := tensor.MatMul(a, b, tensor.WithReuse(reuse)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				near(t, name+" reused", floats(want), floats(reuse))
				incr := make2("c", m, n, "plain", e)
				sum := make2("c", m, n, "plain", std)
				if _, err := tensor.MatMul(a, b, tensor.WithIncr(incr)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for i, v := range floats(want) {
					sum.Float32s()[i] += v
				}
				near(t, name+" incremented", floats(sum), floats(incr))
			}
		}
	}
	// Float64 and views with gaps are the standard engine's business.
	d := tensor.New(tensor.WithShape(40, 40), tensor.WithBacking(tensor.Range(tensor.Float64, 0, 1600)), tensor.WithEngine(e))
	if _, err := tensor.MatMul(d, d); err != nil {
		t.Error(err)
	}
	view := make2("v", 40, 40, "view", e)
	if _, _, ok := stored(view); ok {
		t.Error("a view with gaps is taken for a matrix")
	}
}

func floats(t tensor.Tensor) []float32 {
	d := t.(*tensor.Dense)
	return d.Float32s()[:d.Shape().TotalSize()]
}

// TestEngineInMachines trains the toy regression a few steps with and without
// the engine: the losses agree.
func TestEngineInMachines(t *testing.T) {
	e, err := NewEngine()
	if err != nil {
		t.Fatal(err)
	}
	toy := newToy()
	var losses [2][]float32
	for i, opts := range [][]G.VMOpt{nil, {G.WithEngine(e)}} {
		g, x, y, w, loss := toy.graph(G.Mul)
		if _, err := G.Grad(loss, w); err != nil {
			t.Fatal(err)
		}
		m := G.NewTapeMachine(g, append(opts, G.BindDualValues(w))...)
		solver := G.NewVanillaSolver(G.WithLearnRate(0.1))
		for range 5 {
			if err := G.Let(x, toy.x); err != nil {
				t.Fatal(err)
			}
			if err := G.Let(y, toy.y); err != nil {
				t.Fatal(err)
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			losses[i] = append(losses[i], numbers(loss.Value())...)
			if err := solver.Step([]G.ValueGrad{w}); err != nil {
				t.Fatal(err)
			}
			m.Reset()
		}
		m.Close()
	}
	near(t, "losses", losses[0], losses[1])
	if losses[0][0] == losses[0][4] {
		t.Error("nothing was trained")
	}
}
