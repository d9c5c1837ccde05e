package graph_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

func TestBindSyms(t *testing.T) {
	g := parse(t, `graph @g(%a: f32[2*S+1], %b: f32[S,3], %c: f32[T], %e: f32[])  where S in 1..4, T in 0..2
  return`)
	ok := map[string][]int{"a": {5}, "b": {2, 3}, "c": {0}, "e": {}}
	tests := []struct {
		name string
		dims map[string][]int
		want string
	}{
		{"fits", ok, ""},
		{"missing", map[string][]int{"a": {5}, "b": {2, 3}, "e": {}}, `input "c" is missing`},
		{"rank", map[string][]int{"a": {5}, "b": {2}, "c": {0}, "e": {}}, `input "b" is [2], want f32[S,3]`},
		{"constant", map[string][]int{"a": {5}, "b": {2, 4}, "c": {0}, "e": {}}, `input "b" is [2 4], want f32[S,3]`},
		{"not affine", map[string][]int{"a": {4}, "b": {2, 3}, "c": {0}, "e": {}}, `input "a" is [4], want f32[2*S+1]`},
		{"contradiction", map[string][]int{"a": {5}, "b": {3, 3}, "c": {0}, "e": {}}, `input "b" is [3 3], want f32[S,3] (known symbols map[S:2])`},
		{"too large", map[string][]int{"a": {11}, "b": {5, 3}, "c": {0}, "e": {}}, "symbol S is 5, allowed is 1..4"},
		{"too small", map[string][]int{"a": {1}, "b": {0, 3}, "c": {0}, "e": {}}, "symbol S is 0, allowed is 1..4"},
		{"negative", map[string][]int{"a": {-1}, "b": {-1, 3}, "c": {0}, "e": {}}, "symbol S is -1"},
		{"scalar", map[string][]int{"a": {5}, "b": {2, 3}, "c": {0}, "e": {1}}, `input "e" is [1], want f32[]`},
	}
	for _, tt := range tests {
		syms, err := graph.BindSyms(g, func(n *graph.Node) ([]int, bool) { d, ok := tt.dims[graph.SourceName(n)]; return d, ok })
		if tt.want == "" {
			if diff := cmp.Diff(map[string]int{"S": 2, "T": 0}, syms); err != nil || diff != "" {
				t.Errorf("%s: %v %s", tt.name, err, diff)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestEvalChecksItsSources(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(2))
	w := b.Param("w", graph.F32, 2)
	s := b.State("s", graph.F32, graph.C(2))
	g := finish(t, b, ops.Add(ops.Add(x, w), s))
	f := func(n int) graph.Tensor { return graph.NewTensor(graph.F32, n) }
	short := graph.Tensor{Elem: graph.F32, Dims: []int{2}, Data: make([]byte, 4)}
	type m = map[string]graph.Tensor
	tests := []struct {
		env  graph.Env
		want string
	}{
		{graph.Env{Inputs: m{"x": f(2)}, Params: m{"w": f(2)}}, ""},
		{graph.Env{Inputs: m{"x": f(2)}}, w.Node().Pos[0].String() + `: param: param "w" is missing`},
		{graph.Env{Params: m{"w": f(2)}}, `input "x" is missing`},
		{graph.Env{Inputs: m{"x": f(2)}, Params: m{"w": f(3)}}, `param "w" is f32[3], want f32[2]`},
		{graph.Env{Inputs: m{"x": f(2)}, Params: m{"w": graph.NewTensor(graph.BF16, 2)}}, `param "w" is bf16[2], want f32[2]`},
		{graph.Env{Inputs: m{"x": graph.NewTensor(graph.I32, 2)}, Params: m{"w": f(2)}}, `input "x" is i32[2], want f32[2]`},
		{graph.Env{Inputs: m{"x": f(2)}, Params: m{"w": f(2)}, States: m{"s": f(1)}}, `state "s" is f32[1], want f32[2]`},
		{graph.Env{Inputs: m{"x": f(2)}, Params: m{"w": short}}, `param "w" is f32[2] with 4 bytes`},
	}
	for _, tt := range tests {
		_, err := graph.Eval(g, tt.env)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func TestEvalReportsTheFailingNode(t *testing.T) {
	b := graph.NewBuilder("g")
	defer b.Scope("embed")()
	y := ops.Embedding(b.Param("t", graph.F32, 3, 2), b.Input("ids", graph.I32, graph.C(1)))
	g := finish(t, b, y)
	_, err := graph.Eval(g, graph.Env{
		Inputs: map[string]graph.Tensor{"ids": graph.FromI32([]int32{3}, 1)},
		Params: map[string]graph.Tensor{"t": graph.NewTensor(graph.F32, 3, 2)},
	})
	if err == nil || !strings.HasPrefix(err.Error(), y.Node().Pos[0].String()+": embed: embedding: id 3 at 0 is outside the table of 3 rows") {
		t.Errorf("got %v", err)
	}
}

func TestEvalDoesNotTouchItsSources(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.State("s", graph.F32, graph.C(2))
	g := finish(t, b, bump(bump(s, b.ConstF32(1)), b.ConstF32(2)))
	state := graph.FromF32([]float32{10, 20}, 2)
	for range 2 {
		res, err := graph.Eval(g, graph.Env{States: map[string]graph.Tensor{"s": state}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]float32{13, 23}, res.States["s"].F32()); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff([]float32{10, 20}, state.F32()); diff != "" {
		t.Errorf("the caller's state changed: %s", diff)
	}
}

func TestPrep(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[2,4])
  %w = param "w" : f32[4,4]
  %s = state "s" : f32[4,4]
  %t, %gamma = ternary.quantize(%w) {scale=absmean}
  %c = const [2] : f32[]
  %gc = mul(%gamma, %c)
  %q, %a = quant.act(%x) {bits=8, round=even}
  %y = ternary.matmul(%q, %t)
  %r = rescale(%y, %a, %gc)
  %z = matmul(%r, %s)
  return %z`)
	var got []string
	for _, n := range g.Nodes {
		if g.Prep()[n] {
			got = append(got, n.Op.Name)
		}
	}
	if diff := cmp.Diff([]string{"param", "ternary.quantize", "const", "mul"}, got); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(g.String(), "@prep"); n != 2 {
		t.Errorf("%d nodes print @prep, want 2:\n%s", n, g)
	}
}
