package graph_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// bumpOp adds x to a state in place; viewOp is the state's memory under another
// shape.
var bumpOp = graph.Define(graph.Def[graph.None]{
	Name: "test.bump", In: "s, x", Out: "s", Updates: []graph.Update{{In: 0, Out: 0}},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return in[:1], nil },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		for i, v := range in[0].F32() {
			out[0].F32()[i] = v + in[1].F32()[0]
		}
		return nil
	},
})

var viewOp = graph.Define(graph.Def[graph.None]{
	Name: "test.view", In: "x", Out: "y", View: true,
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return []graph.Type{graph.T(in[0].Elem, append([]graph.Dim{graph.C(1)}, in[0].Shape...)...)}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error { copy(out[0].Data, in[0].Data); return nil },
})

func bump(s, x graph.Value) graph.Value { return bumpOp.One(graph.None{}, s, x) }
func view(x graph.Value) graph.Value    { return viewOp.One(graph.None{}, x) }

// tamper copies g with its nodes passed through f; operands still refer to g's
// own nodes where f keeps them.
func tamper(g *graph.Graph, f func(ns []*graph.Node) []*graph.Node) *graph.Graph {
	c := *g
	c.Nodes = f(slices.Clone(g.Nodes))
	return &c
}

func finish(t testing.TB, b *graph.Builder, outs ...graph.Value) *graph.Graph {
	t.Helper()
	g, err := b.Finish(outs...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestVerifyFindsBrokenGraphs(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 8)
	x := b.Input("x", graph.F32, s, graph.C(4))
	w := b.Param("w", graph.F32, 4, 4)
	y := ops.ReLU2(ops.Linear(x, w))
	g := finish(t, b, y)
	if err := graph.Verify(g, graph.AnyPhase); err != nil {
		t.Fatal(err)
	}
	at := func(ns []*graph.Node, op *graph.OpDef) int {
		return slices.IndexFunc(ns, func(n *graph.Node) bool { return n.Op == op })
	}
	// with replaces the node of op by a changed copy; nothing may read it.
	with := func(op *graph.OpDef, change func(n *graph.Node)) *graph.Graph {
		c := tamper(g, func(ns []*graph.Node) []*graph.Node {
			i := at(ns, op)
			n := *ns[i]
			n.In, n.Out = slices.Clone(n.In), slices.Clone(n.Out)
			change(&n)
			ns[i] = &n
			return ns
		})
		c.Outs = []graph.Value{c.Nodes[len(c.Nodes)-1].Result(0)}
		return c
	}
	relu := ops.ReLU2Op.OpDef
	tests := []struct {
		name string
		g    *graph.Graph
		want string
	}{
		{"order", tamper(g, func(ns []*graph.Node) []*graph.Node { slices.Reverse(ns); return ns }), `verify_test.go:\d+: relu2: operand x is defined later or elsewhere`},
		{"missing", tamper(g, func(ns []*graph.Node) []*graph.Node {
			return slices.DeleteFunc(ns, func(n *graph.Node) bool { return n.Op == ops.MatMulOp.OpDef })
		}), `verify_test.go:\d+: relu2: operand x is defined later or elsewhere`},
		{"twice", tamper(g, func(ns []*graph.Node) []*graph.Node { return append(ns, ns[at(ns, relu)]) }), `verify_test.go:\d+: relu2: node is listed twice`},
		{"output", tamper(g, func(ns []*graph.Node) []*graph.Node { return ns[:len(ns)-1] }), `output 0 is not in the graph`},
		{"type", with(relu, func(n *graph.Node) { n.Out[0].Shape = graph.Dims(3) }), `verify_test.go:\d+: relu2: result 0 is f32\[3\], the type rule says f32\[S,4\]`},
		{"element type", with(relu, func(n *graph.Node) { n.Out[0].Elem = graph.BF16 }), `verify_test.go:\d+: relu2: result 0 is bf16`},
		{"results", with(relu, func(n *graph.Node) { n.Out = append(n.Out, n.Out[0]) }), `relu2: node has 2 results, the type rule gives 1`},
		{"no results", with(relu, func(n *graph.Node) { n.Out = nil }), `relu2: node has 0 results`},
		{"operands", with(relu, func(n *graph.Node) { n.In = nil }), `relu2: want 1 operands`},
		{"no operand", with(relu, func(n *graph.Node) { n.In[0] = graph.Value{} }), `relu2: operand x is defined later or elsewhere`},
		{"attributes", with(relu, func(n *graph.Node) { n.Attrs = ops.ScaleAttrs{By: 2} }), `relu2: attributes are ops.ScaleAttrs, want graph.None`},
		{"symbol", with(relu, func(n *graph.Node) { n.Out[0].Shape = graph.Shape{{Sym: "T", Mul: 1}} }), `relu2: symbol T of f32\[T\] is not declared`},
		{"names", tamper(g, func(ns []*graph.Node) []*graph.Node { n := *ns[at(ns, graph.ParamOp.OpDef)]; return append(ns, &n) }), `param: "w" is declared twice`},
		{"symbols", &graph.Graph{Syms: []graph.Sym{{Name: "S", Min: 1, Max: 2}, {Name: "S", Min: 1, Max: 3}}}, `symbol S is declared twice`},
		{"bounds", &graph.Graph{Syms: []graph.Sym{{Name: "S", Min: 3, Max: 2}}}, `bad symbol "S" in 3..2`},
	}
	for _, tt := range tests {
		if err := graph.Verify(tt.g, graph.AnyPhase); err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestVerifyPhases(t *testing.T) {
	b := graph.NewBuilder("g")
	defer b.Scope("layers.0")()
	g := finish(t, b, bitlinear.Linear(b.Input("x", graph.F32, graph.C(2), graph.C(4)), b.Param("w", graph.F32, 3, 4)))
	for phase, legal := range map[graph.Phase]bool{graph.AnyPhase: true, graph.Declared: true, graph.Training: false, graph.Inferring: false} {
		err := graph.Verify(g, phase)
		if legal != (err == nil) {
			t.Errorf("phase %s: %v, want legal %v", phase, err, legal)
		}
		if want := `verify_test.go:\d+: layers.0: bitlinear: op is not legal in a graph for ` + phase.String(); err != nil && !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestVerifyStates(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *graph.Builder, s, x graph.Value) []graph.Value
		want  string // "" for a legal graph
	}{
		{"read, then update", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			r := ops.Add(s, x)
			bump(s, x)
			return []graph.Value{r}
		}, ""},
		{"update, then read the old value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			bump(s, x)
			return []graph.Value{ops.Add(s, x)}
		}, ""},
		{"chain", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			return []graph.Value{bump(bump(bump(s, x), x), x)}
		}, ""},
		{"two writers", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			bump(s, x)
			bump(s, x)
			return nil
		}, `verify_test.go:\d+: test.bump: second writer of state %s; the first is verify_test.go:\d+: test.bump`},
		{"two writers down the chain", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			s1 := bump(s, x)
			bump(s1, x)
			return []graph.Value{bump(s1, x)}
		}, `second writer of state`},
		{"one op updates a state twice", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			kc := b.State("kc", graph.F32, graph.C(2), graph.C(4), graph.C(4))
			k, i := b.Input("k", graph.F32, graph.C(1), graph.C(4)), b.Input("i", graph.I32, graph.C(1))
			ops.KVAppendOp.Emit(graph.None{}, kc, kc, k, k, i, i, b.Input("table", graph.I32, graph.C(1), graph.C(1)))
			return nil
		}, `verify_test.go:\d+: kv.append: second writer of state %kc`},
		{"update of an input", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			bump(x, s)
			return nil
		}, `verify_test.go:\d+: test.bump: operand s is updated in place but is no state`},
		{"update of a computed value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			bump(ops.Add(s, x), x)
			return nil
		}, `operand s is updated in place but is no state`},
		{"a reader of the old value needs the new one", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			return []graph.Value{ops.Add(bump(s, x), s)}
		}, `verify_test.go:\d+: test.bump: cycle through state %s`},
		{"old and new values meet later", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			return []graph.Value{ops.Mul(ops.ReLU2(ops.SiLU(bump(s, x))), ops.GELU(s)), ops.Add(s, ops.ReLU2(bump(b.State("t", graph.F32, graph.C(4)), ops.Add(s, x))))}
		}, ""},
		{"each update reads the other's old value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			u := b.State("u", graph.F32, graph.C(4))
			s1 := bump(s, ops.ReLU2(u)) // must follow readers of s, must precede u's update
			u1 := bump(u, ops.ReLU2(s)) // the other way round: legal, both read first
			return []graph.Value{ops.Add(s1, u1)}
		}, ""},
		{"crossed updates", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			u := b.State("u", graph.F32, graph.C(4))
			s1 := bump(s, x)
			u1 := bump(u, s1)
			return []graph.Value{ops.Add(ops.Add(s1, u), ops.Mul(u1, s))} // s is read after u1, which needs s1
		}, `cycle through state`},
		{"output of the old value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			bump(s, x)
			return []graph.Value{s}
		}, `output 0 is the old value of state %s, which is updated in place: verify_test.go:\d+: test.bump`},
		{"output of a view of the old value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			v := view(view(s))
			bump(s, x)
			return []graph.Value{x, v}
		}, `output 1 is the old value of state %s`},
		{"output of the new value", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			return []graph.Value{bump(s, x)}
		}, ""},
		{"a view read after the update", func(b *graph.Builder, s, x graph.Value) []graph.Value {
			return []graph.Value{ops.Add(view(bump(s, x)), view(s))}
		}, `cycle through state %s`},
	}
	for _, tt := range tests {
		b := graph.NewBuilder("g")
		s := b.State("s", graph.F32, graph.C(4))
		x := b.Input("x", graph.F32, graph.C(4))
		_, err := b.Finish(tt.build(b, s, x)...)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error())):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestScheduleRunsReadersBeforeTheWriter(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.State("s", graph.F32, graph.C(4))
	x := b.Input("x", graph.F32, graph.C(4))
	s1 := bump(s, x)
	s2 := bump(s1, x)
	r0 := ops.ReLU2(s)
	r1 := ops.SiLU(s1)
	rv := ops.GELU(view(view(s)))
	g := finish(t, b, s2, r0, r1, rv)
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		g.Nodes = shuffle(r, g)
		order, err := graph.Schedule(g)
		if err != nil {
			t.Fatal(err)
		}
		at := map[*graph.Node]int{}
		for i, n := range order {
			at[n] = i
			for _, v := range n.In {
				if _, ok := at[v.Node()]; !ok {
					t.Fatalf("%s runs before its operand", n.Op.Name)
				}
			}
		}
		if len(at) != len(g.Nodes) {
			t.Fatalf("%d of %d nodes are scheduled", len(at), len(g.Nodes))
		}
		for _, p := range [][2]graph.Value{{r0, s1}, {rv, s1}, {r1, s2}} {
			if at[p[0].Node()] > at[p[1].Node()] {
				t.Fatalf("%s runs after the state was overwritten", p[0].Op().Name)
			}
		}
	}
}

func TestScheduleKeepsALegalOrder(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(4))
	y := x
	for range 40 {
		y = ops.Add(ops.SiLU(y), ops.GELU(y))
	}
	g := finish(t, b, y)
	order, err := graph.Schedule(g)
	if err != nil || !slices.Equal(order, g.Nodes) {
		t.Errorf("a legal order was changed (%v)", err)
	}
}

// shuffle returns g's nodes in a random topological order.
func shuffle(r *rand.Rand, g *graph.Graph) []*graph.Node {
	left := slices.Clone(g.Nodes)
	r.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	placed := map[*graph.Node]bool{}
	var out []*graph.Node
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(n *graph.Node) bool {
			return !slices.ContainsFunc(n.In, func(v graph.Value) bool { return !placed[v.Node()] })
		})
		placed[left[i]] = true
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out
}

func TestFinalState(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.State("s", graph.F32, graph.C(4))
	idle := b.State("idle", graph.F32, graph.C(4))
	x := b.Input("x", graph.F32, graph.C(4))
	last := bump(bump(s, x), x)
	g := finish(t, b, ops.Add(idle, x))
	if got := g.FinalState(s.Node()); got != last {
		t.Errorf("the final value is %v", got)
	}
	if got := g.FinalState(idle.Node()); got != idle {
		t.Errorf("the final value of a state that is only read is %v", got)
	}
	if !strings.Contains(g.String(), "test.bump") {
		t.Error("a state update was pruned")
	}
}
