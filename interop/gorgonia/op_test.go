package gorgonia

import (
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// opGraphs are uses of this package's ops in Gorgonia, with a loss.
var opGraphs = map[string]func(g *G.ExprGraph) (loss *G.Node, wrt G.Nodes){
	"BitLinear": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x, w := weight(g, "x", 5, 6), weight(g, "w", 6, 4)
		return total(must(BitLinear(x, w))), G.Nodes{x, w}
	},
	"BitLinear twice of one input": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x, w, v := weight(g, "x", 5, 6), weight(g, "w", 6, 6), weight(g, "v", 6, 6)
		return total(must(G.HadamardProd(must(BitLinear(x, w)), must(BitLinear(must(BitLinear(x, v)), w))))), G.Nodes{x, w, v}
	},
	"SubLN": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x, s := weight(g, "x", 5, 6), weight(g, "s", 6)
		return total(must(SubLN(x, s, 1e-5))), G.Nodes{x, s}
	},
	"SubLN of rank 3": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x, s := weight(g, "x", 2, 3, 4), weight(g, "s", 4)
		return total(must(SubLN(must(SubLN(x, s, 1e-5)), s, 0.1))), G.Nodes{x, s}
	},
	"RoPE": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x := weight(g, "x", 3, 8)
		pos := G.NewVector(g, tensor.Int32, G.WithShape(3), G.WithName("pos"),
			G.WithValue(tensor.New(tensor.WithShape(3), tensor.WithBacking([]int32{0, 5, 2}))))
		return total(must(RoPE(x, pos, 1e4, 4))), G.Nodes{x}
	},
	"ReLU2": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x := weight(g, "x", 3, 8)
		return total(must(ReLU2(x))), G.Nodes{x}
	},
	"ReLU2 of a scalar": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x := G.NewScalar(g, tensor.Float32, G.WithName("x"), G.WithValue(float32(1.5)))
		return must(ReLU2(x)), G.Nodes{x}
	},
	"layer": func(g *G.ExprGraph) (*G.Node, G.Nodes) {
		x, s, w, v := weight(g, "x", 5, 6), weight(g, "s", 6), weight(g, "w", 6, 8), weight(g, "v", 8, 6)
		h := must(ReLU2(must(BitLinear(must(SubLN(x, s, 1e-5)), w))))
		return total(must(G.Add(x, must(BitLinear(h, v))))), G.Nodes{x, s, w, v}
	},
}

// total is a loss that weighs elements differently.
func total(n *G.Node) *G.Node {
	return must(G.Sum(must(G.HadamardProd(n, weight(n.Graph(), "scale", n.Shape()...)))))
}

// TestOpsInGorgonia compares values and gradients of this package's ops, on the
// tape machine and on the lisp machine, with the imported graph in training
// form, run by the references.
func TestOpsInGorgonia(t *testing.T) {
	for name, build := range opGraphs {
		t.Run(name, func(t *testing.T) {
			g := G.NewGraph()
			loss, _ := build(g)
			out, params, err := Import(g, G.Nodes{loss}, Inputs(g.ByName("pos")...))
			if err != nil {
				t.Fatal(err)
			}
			grads, err := append(passes.Eval(false), passes.Grad(nil)).Run(out, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := graph.Eval(grads, graph.Env{Params: params, Inputs: positions(out)})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]graph.Tensor{}
			for i, p := range out.Params() {
				want[graph.SourceName(p)] = res.Outs[1+i]
			}
			check := func(t *testing.T, loss *G.Node, wrt G.Nodes) {
				t.Helper()
				near(t, "loss", numbers(loss.Value()), res.Outs[0].F32())
				for _, n := range wrt {
					d, err := n.Grad()
					if err != nil {
						t.Fatal(err)
					}
					near(t, n.Name(), numbers(d), want[n.Name()].F32())
				}
			}
			t.Run("tape", func(t *testing.T) {
				g := G.NewGraph()
				loss, wrt := build(g)
				if _, err := G.Grad(loss, wrt...); err != nil {
					t.Fatal(err)
				}
				m := G.NewTapeMachine(g)
				defer m.Close()
				for range 2 { // the second time into memory that is there already
					if err := m.RunAll(); err != nil {
						t.Fatal(err)
					}
					check(t, loss, wrt)
					m.Reset()
				}
			})
			t.Run("lisp", func(t *testing.T) {
				g := G.NewGraph()
				loss, wrt := build(g)
				m := G.NewLispMachine(g)
				defer m.Close()
				if err := m.RunAll(); err != nil {
					t.Fatal(err)
				}
				check(t, loss, wrt)
			})
		})
	}
}

// positions are the values of the positions that opGraphs bind.
func positions(g *graph.Graph) map[string]graph.Tensor {
	in := map[string]graph.Tensor{}
	for _, n := range g.Inputs() {
		in[graph.SourceName(n)] = graph.FromI32([]int32{0, 5, 2}, 3)
	}
	return in
}

func TestOpsRefuse(t *testing.T) {
	g := G.NewGraph()
	x, w, wide := weight(g, "x", 5, 6), weight(g, "w", 4, 6), G.NewMatrix(g, tensor.Float64, G.WithShape(6, 4), G.WithName("wide"))
	pos := G.NewVector(g, tensor.Int32, G.WithShape(4), G.WithName("pos"))
	for name, f := range map[string]func() (*G.Node, error){
		"shapes":            func() (*G.Node, error) { return BitLinear(x, w) },
		"element types":     func() (*G.Node, error) { return BitLinear(x, wide) },
		"no node":           func() (*G.Node, error) { return BitLinear(x, nil) },
		"norm of another":   func() (*G.Node, error) { return SubLN(x, weight(g, "s", 5), 1e-5) },
		"norm of nothing":   func() (*G.Node, error) { return SubLN(nil, nil, 1e-5) },
		"odd heads":         func() (*G.Node, error) { return RoPE(x, pos, 1e4, 3) },
		"part of a head":    func() (*G.Node, error) { return RoPE(x, pos, 1e4, 4) },
		"missing positions": func() (*G.Node, error) { return RoPE(x, pos, 1e4, 6) },
	} {
		if n, err := f(); err == nil {
			t.Errorf("%s: accepted as %v", name, n)
		}
	}
}

// TestReshapeOverwrites holds the package documentation to what it says about
// Gorgonia's tape machine.
func TestReshapeOverwrites(t *testing.T) {
	g := G.NewGraph()
	w, v := weight(g, "w", 3, 2), weight(g, "v", 6)
	before := append([]float32(nil), numbers(w.Value())...)
	loss := must(G.Sum(must(G.Sub(must(G.Reshape(w, tensor.Shape{6})), v))))
	loss = must(G.Add(loss, must(G.Sum(must(G.Square(w))))))
	m := G.NewTapeMachine(g)
	defer m.Close()
	if err := m.RunAll(); err != nil {
		t.Fatal(err)
	}
	changed := false
	for i, x := range numbers(w.Value()) {
		changed = changed || x != before[i]
	}
	if !changed {
		t.Error("the weight is as before: drop the precaution in TestRandomGraphs")
	}
}
