package graph_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// text prints g without positions, alignment and indentation.
func text(g *graph.Graph) string {
	var out []string
	for _, l := range strings.Split(g.String(), "\n") {
		l, _, _ = strings.Cut(l, "//")
		if f := strings.Fields(l); len(f) > 0 {
			out = append(out, strings.Join(f, " "))
		}
	}
	return strings.Join(out, "\n")
}

func TestRewriteReplacesAndPrunes(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4])
  %w = param "w" : f32[4]
  scope "mlp"
  %a = relu2(%x) // m.go:5
  scope ""
  %b = add(%a, %w)
  %c = scale(%b) {by=3}
  return %c, %b`)
	// relu2 becomes silu, the addition is dropped: w has no reader left.
	got, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		switch n.Op {
		case ops.ReLU2Op.OpDef:
			return []graph.Value{ops.SiLU(rw.Get(n.In[0]))}, true
		case ops.AddOp.OpDef:
			return []graph.Value{rw.Get(n.In[0])}, true
		}
		return nil, false
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `graph @g(%x: f32[4])
scope "mlp"
%a = silu(%x) : f32[4]
scope ""
%c = scale(%a) {by=3} : f32[4]
return %c, %a`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(got.String(), "// m.go:5") {
		t.Errorf("the replacement lost its position:\n%s", got)
	}
	if strings.Contains(g.String(), "silu") {
		t.Error("the old graph changed")
	}
}

func TestRewriteInfersChangedTypesAgain(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[S,4])  where S in 1..8
  %a = relu2(%x) : f32[S,4]@lay
  %b = silu(%a)
  return %b`)
	got, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op == graph.InputOp.OpDef {
			return []graph.Value{rw.B.Input("x", graph.F32, graph.C(3), graph.C(4))}, true
		}
		return nil, false
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `graph @g(%x: f32[3,4]) where S in 1..8
%a = relu2(%x) : f32[3,4]@lay
%b = silu(%a) : f32[3,4]
return %b`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRewriteOnDemandVisitsEachNodeOnce(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4])
  %a = relu2(%x)
  %b = silu(%a)
  %c = gelu(%b)
  return %a, %c`)
	visits := map[string]int{}
	got, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		visits[n.Op.Name]++
		if n.Op == ops.ReLU2Op.OpDef {
			// The first node already needs a copy of what comes after it,
			// except for its own users.
			x := n.In[0]
			return []graph.Value{ops.Add(rw.Get(x), rw.Get(x))}, true
		}
		if n.Op == ops.SiLUOp.OpDef {
			return nil, true // set below, with gelu
		}
		if n.Op == ops.GELUOp.OpDef {
			y := ops.GELU(rw.Get(n.In[0].Node().In[0]))
			rw.Merge([]*graph.Node{n.In[0].Node(), n}, func() { rw.Set(n.Result(0), ops.ReLU2(y)) })
			return nil, true
		}
		return nil, false
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `graph @g(%x: f32[4])
%a = add(%x, %x) : f32[4]
%0 = gelu(%a) : f32[4]
%c = relu2(%0) : f32[4]
return %a, %c`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"input": 1, "relu2": 1, "silu": 1, "gelu": 1}, visits); diff != "" {
		t.Error(diff)
	}
}

func TestRewriteReportsARemovedResult(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[2,4], %i: i32[2])
  %o, %lse = attention(%x, %x, %x, %i, %i) {heads=1, kv_heads=1} // m.go:2
  %y = relu2(%lse) // m.go:3
  return %o, %y`)
	calls := 0
	_, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.AttentionOp.OpDef {
			return nil, false
		}
		calls++
		return []graph.Value{rw.Get(n.In[0])}, true
	})
	if err == nil || !strings.Contains(err.Error(), "m.go:2: attention: result 1 was rewritten away") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if calls != 1 {
		t.Errorf("the callback ran %d times for one node", calls)
	}
	// A removed result that nothing reads is fine.
	g.Outs = g.Outs[:1]
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return n.Op == ops.ReLU2Op.OpDef })
	if _, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.AttentionOp.OpDef {
			return nil, false
		}
		return []graph.Value{rw.Get(n.In[0])}, true
	}); err != nil {
		t.Error(err)
	}
}

func TestRewriteReportsAReplacementThatNeedsItself(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4])
  %a = relu2(%x) // m.go:2
  %b = silu(%a)
  return %b`)
	_, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.ReLU2Op.OpDef {
			return nil, false
		}
		return []graph.Value{ops.Add(rw.Get(n.In[0]), rw.Get(g.Outs[0]))}, true // needs b, which needs a
	})
	if err == nil || !strings.Contains(err.Error(), "m.go:2: relu2: result 0 was rewritten away") {
		t.Errorf("got %v", err)
	}
}

func TestRewriteReportsAMistakeOfTheCallback(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4], %y: f32[3])
  %k = state "k" : f32[4]
  %a = relu2(%x) // m.go:2
  %b = silu(%a)
  return %b`)
	_, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.ReLU2Op.OpDef {
			return nil, false
		}
		return []graph.Value{ops.Add(rw.Get(n.In[0]), rw.Get(g.Inputs()[1].Result(0)))}, true
	})
	if err == nil || !strings.HasPrefix(err.Error(), "m.go:2: add: a is f32[4] but b is f32[3]") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestRewriteSourcesDeclaredByTheCallback(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4])
  %a = relu2(%x)
  %w = param "w" : f32[4]
  %b = add(%a, %w)
  return %b`)
	got, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != ops.ReLU2Op.OpDef {
			return nil, false
		}
		in := rw.InputOnce("y", graph.F32, graph.C(4))
		if in != rw.InputOnce("y", graph.F32, graph.C(4)) {
			t.Error("InputOnce declares twice")
		}
		return []graph.Value{ops.Mul(in, rw.B.Param("w", graph.F32, 4))}, true
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `graph @g(%x: f32[4], %y: f32[4])
%w = param "w" : f32[4]
%a = mul(%y, %w) : f32[4]
%b = add(%a, %w) : f32[4]
return %b`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
}

func TestMergeJoinsPositions(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[4])
  %a = relu2(%x) // m.go:2 n.go:9
  %b = silu(%a) // m.go:3
  %c = gelu(%b) // m.go:2
  return %c`)
	got, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op == ops.GELUOp.OpDef {
			b := n.In[0].Node()
			a := b.In[0].Node()
			rw.Merge([]*graph.Node{a, b, n}, func() { rw.Set(n.Result(0), ops.ReLU2(rw.Get(a.In[0]))) })
			return nil, true
		}
		return nil, false
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "// m.go:2 n.go:9 m.go:3"; !strings.Contains(got.String(), want) {
		t.Errorf("want positions %s in\n%s", want, got)
	}
}

func TestReopenedGraphGrows(t *testing.T) {
	g := parse(t, `graph @g(%x: f32[S])  where S in 1..4
  %w = param "w" : f32[]
  %a = mul(%x, %w)
  return %a`)
	b, m := graph.Reopen(g)
	if b.Param("w", graph.F32) != m[g.Params()[0].Result(0)] {
		t.Error("the reopened graph forgot its params")
	}
	b.Input("x", graph.F32)
	if b.Err() == nil {
		t.Error("the reopened graph forgot its inputs")
	}
	b, m = graph.Reopen(g)
	got := finish(t, b, ops.Sum(m[g.Outs[0]]))
	want := `graph @g(%x: f32[S]) where S in 1..4
%w = param "w" : f32[]
%a = mul(%x, %w) : f32[S]
%0 = sum(%a) : f32[]
return %0`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
}
