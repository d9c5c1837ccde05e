package gorgonia

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// weight declares a float32 weight with small values of its own.
func weight(g *G.ExprGraph, name string, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name), G.WithValue(filled(name, shape...)))
}

// filled is a tensor whose values depend on a name.
func filled(name string, shape ...int) *tensor.Dense {
	n := tensor.Shape(shape).TotalSize()
	vals := make([]float32, n)
	for i := range vals {
		vals[i] = float32(math.Sin(float64(i*7+len(name)*3+int(name[0])))) * 0.8
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(vals))
}

func input(g *G.ExprGraph, name string, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
}

// TestIdioms shows what Gorgonia's idioms become.
func TestIdioms(t *testing.T) {
	tests := []struct {
		name  string
		build func(g *G.ExprGraph) *G.Node
		want  string
	}{
		{"rectify", func(g *G.ExprGraph) *G.Node { return must(G.Rectify(input(g, "x", 3, 4))) }, `
graph @gorgonia(%x: f32[3,4])
  %0 = relu(%x) : f32[3,4]
  return %0
`},
		{"mean", func(g *G.ExprGraph) *G.Node { return must(G.Mean(input(g, "x", 3, 4))) }, `
graph @gorgonia(%x: f32[3,4])
  %0 = sum.axis(%x) {axis=1, mean=true} : f32[3]
  %1 = sum.axis(%0) {mean=true}         : f32[]
  return %1
`},
		{"linear with bias", func(g *G.ExprGraph) *G.Node {
			y := must(G.Mul(input(g, "x", 3, 4), weight(g, "w", 4, 2)))
			return must(G.BroadcastAdd(y, weight(g, "b", 2), nil, []byte{0}))
		}, `
graph @gorgonia(%x: f32[3,4])
  %w = param "w"                     : f32[4,2]
  %0 = matmul(%x, %w)                : f32[3,2]
  %b = param "b"                     : f32[2]
  %1 = reshape(%b) {shape="[1,2]"}   : f32[1,2] @prep
  %2 = broadcast(%1) {shape="[3,2]"} : f32[3,2] @prep
  %3 = add(%0, %2)                   : f32[3,2]
  return %3
`},
		{"transposes", func(g *G.ExprGraph) *G.Node {
			y := must(G.Mul(input(g, "x", 3, 4), must(G.Transpose(weight(g, "w", 2, 4)))))
			return must(G.Mul(must(G.Transpose(y)), weight(g, "v", 3, 5)))
		}, `
graph @gorgonia(%x: f32[3,4])
  %w = param "w"                : f32[2,4]
  %0 = matmul(%x, %w) {tb=true} : f32[3,2]
  %v = param "v"                : f32[3,5]
  %1 = matmul(%0, %v) {ta=true} : f32[2,5]
  return %1
`},
		{"ops of this package", func(g *G.ExprGraph) *G.Node {
			x := must(SubLN(input(g, "x", 3, 4), weight(g, "g", 4), 1e-5))
			pos := G.NewVector(g, tensor.Int32, G.WithShape(3), G.WithName("pos"))
			return must(ReLU2(must(RoPE(must(BitLinear(x, weight(g, "w", 4, 8))), pos, 1e4, 4))))
		}, `
graph @gorgonia(%x: f32[3,4], %pos: i32[3])
  %g = param "g"                                             : f32[4]
  %0 = rmsnorm(%x, %g) {eps=1e-05}                           : f32[3,4]
  %w = param "w"                                             : f32[4,8]
  %1 = transpose(%w) {perm="1 0"}                            : f32[8,4] @prep
  %2 = bitlinear(%0, %1) {bits=8, round=even, scale=absmean} : f32[3,8]
  %3 = rope(%2, %pos) {theta=10000, head_dim=4}              : f32[3,8]
  %4 = relu2(%3)                                             : f32[3,8]
  return %4
`},
	}
	for _, tt := range tests {
		g := G.NewGraph()
		out, _, err := Import(g, G.Nodes{tt.build(g)})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var lines []string
		for _, l := range strings.Split(out.String(), "\n") {
			l, _, _ = strings.Cut(l, "  //")
			lines = append(lines, strings.TrimRight(l, " "))
		}
		if d := cmp.Diff(tt.want, "\n"+strings.Join(lines, "\n")); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// TestRefused checks that what cannot be represented is named with its path.
func TestRefused(t *testing.T) {
	tests := []struct {
		name  string
		build func(g *G.ExprGraph) *G.Node
		want  []string
	}{
		{"op", func(g *G.ExprGraph) *G.Node {
			return must(G.Tanh(must(G.Max(weight(g, "w", 3, 4), 1))))
		}, []string{"tanh(", "→ MaxAlong[1]", `op "MaxAlong[1]"`, "no counterpart"}},
		{"float64", func(g *G.ExprGraph) *G.Node {
			return must(G.Tanh(G.NewMatrix(g, tensor.Float64, G.WithShape(2, 2), G.WithName("wide"))))
		}, []string{"→ wide", "float64", "float32"}},
		{"strides", func(g *G.ExprGraph) *G.Node {
			v, err := filled("big", 4, 6).Slice(nil, G.S(1, 3))
			if err != nil {
				panic(err)
			}
			return must(G.Tanh(G.NewMatrix(g, tensor.Float32, G.WithShape(4, 2), G.WithName("view"), G.WithValue(v))))
		}, []string{"→ view", "strides [6 1]", "materialize"}},
		{"column-major", func(g *G.ExprGraph) *G.Node {
			v := tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float32{1, 2, 3, 4, 5, 6}))
			return must(G.Tanh(G.NewMatrix(g, tensor.Float32, G.WithShape(2, 3), G.WithName("fortran"), G.WithValue(v))))
		}, []string{"→ fortran", "strides [1 2]"}},
		{"booleans", func(g *G.ExprGraph) *G.Node {
			x := weight(g, "w", 3)
			return must(G.Gt(x, G.NewConstant(float32(0)), false))
		}, []string{`op "> false"`, "retSame"}},
		{"power", func(g *G.ExprGraph) *G.Node {
			return must(G.Pow(weight(g, "w", 3), weight(g, "e", 3)))
		}, []string{`op "^ false"`, "constant exponent"}},
		{"slice with a step", func(g *G.ExprGraph) *G.Node {
			return must(G.Slice(weight(g, "w", 6), G.S(0, 6, 2)))
		}, []string{"step of 2"}},
		{"batch in two places", func(g *G.ExprGraph) *G.Node {
			x := must(G.Transpose(input(g, "batched", 4, 6)))
			return must(G.Reshape(x, tensor.Shape{24}))
		}, []string{"Reshape", "cannot be followed"}},
		{"part of the batch", func(g *G.ExprGraph) *G.Node {
			return must(G.Slice(input(g, "batched", 4, 6), G.S(0, 2)))
		}, []string{"part of the batch"}},
		{"two leaves of one name", func(g *G.ExprGraph) *G.Node {
			return must(G.Mul(input(g, "same", 3, 4), input(g, "same", 4, 3)))
		}, []string{"same name"}},
		{"dropout", func(g *G.ExprGraph) *G.Node { return must(G.Dropout(input(g, "x", 3, 4), 0.5)) }, []string{"Dropout"}},
	}
	for _, tt := range tests {
		g := G.NewGraph()
		n := tt.build(g)
		var opts []Option
		if x := g.ByName("batched"); len(x) > 0 {
			opts = append(opts, Batch("B", 1, 9, x...))
		}
		_, _, err := Import(g, G.Nodes{n}, opts...)
		var r *RefusedError
		if !errors.As(err, &r) {
			t.Errorf("%s: got %v, want a refusal", tt.name, err)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", tt.name, err, w)
			}
		}
	}
	if _, _, err := Import(G.NewGraph(), nil); err == nil {
		t.Error("no output is accepted")
	}
	other := input(G.NewGraph(), "x", 2)
	if _, _, err := Import(G.NewGraph(), G.Nodes{other}); err == nil {
		t.Error("a node of another graph is accepted")
	}
}

// TestSymbolicBatch imports a graph built for a batch of 5 and runs it with
// others, forward and backward.
func TestSymbolicBatch(t *testing.T) {
	build := func(batch int) (*G.ExprGraph, *G.Node, *G.Node, G.Nodes) {
		g := G.NewGraph()
		x := input(g, "x", batch, 6)
		ws := G.Nodes{weight(g, "w", 6, 8), weight(g, "b", 8), weight(g, "v", 4, 3)}
		h := must(G.BroadcastAdd(must(G.Mul(x, ws[0])), ws[1], nil, []byte{0}))
		h = must(G.Rectify(h))
		// Two heads of four: the batch stays apart through both reshapes.
		h = must(G.Reshape(h, tensor.Shape{batch, 2, 4}))
		h = must(G.Transpose(h, 1, 0, 2))
		h = must(G.Reshape(h, tensor.Shape{2 * batch, 4}))
		h = must(G.SoftMax(must(G.Mul(h, ws[2])), 1))
		row := must(G.Mean(h, 1))
		return g, x, must(G.Mean(must(G.Square(must(G.Add(must(G.Sum(h, 1)), row)))))), ws
	}
	g, x, loss, _ := build(5)
	if _, _, err := Import(g, G.Nodes{loss}, Batch("B", 1, 64, x)); err == nil {
		t.Error("heads before the batch are joined with it")
	}
	build = func(batch int) (*G.ExprGraph, *G.Node, *G.Node, G.Nodes) {
		g := G.NewGraph()
		x := input(g, "x", batch, 6)
		ws := G.Nodes{weight(g, "w", 6, 8), weight(g, "b", 8), weight(g, "v", 4, 3)}
		h := must(G.BroadcastAdd(must(G.Mul(x, ws[0])), ws[1], nil, []byte{0}))
		h = must(G.Rectify(h))
		h = must(G.Reshape(h, tensor.Shape{batch, 2, 4}))
		h = must(G.Reshape(h, tensor.Shape{2 * batch, 4}))
		h = must(G.SoftMax(must(G.Mul(h, ws[2])), 1))
		return g, x, must(G.Mean(must(G.Square(h)))), ws
	}
	g, x, loss, _ = build(5)
	out, params, err := Import(g, G.Nodes{loss}, Batch("B", 1, 64, x))
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
	for _, batch := range []int{1, 2, 5, 7, 64} {
		g, x, loss, ws := build(batch)
		in := filled("input", batch, 6)
		if err := G.Let(x, in); err != nil {
			t.Fatal(err)
		}
		ds := must2(G.Grad(loss, ws...))
		tape := G.NewTapeMachine(g)
		outs, err := m.Run(context.Background(), map[string]*tensor.Dense{"x": in})
		if err != nil {
			t.Fatal(err)
		}
		if err := tape.RunAll(); err != nil {
			t.Fatal(err)
		}
		near(t, "loss", numbers(loss.Value()), outs[0].Float32s())
		for i, d := range ds {
			near(t, ws[i].Name(), numbers(d.Value()), outs[1+i].Float32s())
		}
		tape.Close()
	}
	if _, err := m.Run(context.Background(), map[string]*tensor.Dense{"x": filled("x", 65, 6)}); err == nil {
		t.Error("a batch above the bound is accepted")
	}
}

func must2(ns G.Nodes, err error) G.Nodes {
	if err != nil {
		panic(err)
	}
	return ns
}

// near compares with Gorgonia's values, to 1e-5 of the largest.
func near(t *testing.T, what string, want, got []float32) {
	t.Helper()
	most := 1.0
	for _, x := range want {
		most = max(most, math.Abs(float64(x)))
	}
	if len(want) != len(got) || len(want) == 0 {
		t.Errorf("%s: %d elements, Gorgonia's %d", what, len(got), len(want))
		return
	}
	for i, x := range want {
		if e := math.Abs(float64(x)-float64(got[i])) / most; !(e <= 1e-5) {
			t.Errorf("%s[%d] is %g, Gorgonia's %g", what, i, got[i], x)
			return
		}
	}
}

// TestGradientsThatDiffer holds the package documentation to what it says: these
// gradients of Gorgonia are not the derivatives of their values, and the
// imported ones are.
func TestGradientsThatDiffer(t *testing.T) {
	tests := []struct {
		name string
		f    func(x *G.Node) (*G.Node, error)
	}{
		{"InverseSqrt", func(x *G.Node) (*G.Node, error) { return G.InverseSqrt(x) }},
		{"Log2", func(x *G.Node) (*G.Node, error) { return G.Log2(x) }},
		{"OuterProd", func(x *G.Node) (*G.Node, error) {
			return G.OuterProd(must(G.Ravel(x)), weight(x.Graph(), "v", 6))
		}},
		{"SoftMax", func(x *G.Node) (*G.Node, error) { return G.SoftMax(must(G.Reshape(x, tensor.Shape{6, 1}))) }},
	}
	for _, tt := range tests {
		g := G.NewGraph()
		vals := []float32{0.5, 1.5, 0.7, 2.1, 1.1, 0.9}
		w := G.NewMatrix(g, tensor.Float32, G.WithShape(2, 3), G.WithName("w"),
			G.WithValue(tensor.New(tensor.WithShape(2, 3), tensor.WithBacking(vals))))
		y := must(tt.f(w))
		loss := must(G.Sum(must(G.Sin(y))))
		out, params, err := Import(g, G.Nodes{loss})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		value := func(p Params) float64 {
			res, err := graph.Eval(out, graph.Env{Params: p})
			if err != nil {
				t.Fatal(err)
			}
			return float64(res.Outs[0].F32()[0])
		}
		grads, err := passes.Pipeline{passes.Grad(func(p string) bool { return p == "w" })}.Run(out, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := graph.Eval(grads, graph.Env{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		ours := res.Outs[1].F32()
		for i := range vals {
			p := Params{}
			for name, x := range params {
				p[name] = x.Clone()
			}
			const h = 1.0 / 64
			x := p["w"].F32()
			at := x[i]
			x[i] = at + h
			up := value(p)
			x[i] = at - h
			slope := (up - value(p)) / (2 * h)
			if e := math.Abs(slope - float64(ours[i])); e > 5e-3 {
				t.Errorf("%s: the slope at %d is %g, the imported gradient %g", tt.name, i, slope, ours[i])
			}
		}
		d, err := G.Grad(loss, w)
		if err != nil {
			t.Logf("%s: Gorgonia does not differentiate it: %v", tt.name, err)
			continue
		}
		m := G.NewTapeMachine(g)
		if err := m.RunAll(); err != nil {
			t.Logf("%s: Gorgonia's gradient does not run: %v", tt.name, err)
			continue
		}
		near(t, tt.name+": value", numbers(loss.Value()), res.Outs[0].F32())
		worst := 0.0
		for i, v := range numbers(d[0].Value()) {
			worst = max(worst, math.Abs(float64(v-ours[i])))
		}
		if worst < 1e-3 {
			t.Errorf("%s: Gorgonia's gradient is right after all: compare it in TestRandomGraphs", tt.name)
		}
		t.Logf("%s: off by up to %.2g", tt.name, worst)
		m.Close()
	}
}
