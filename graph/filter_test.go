package graph_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
)

const twoLayers = `graph @g(%x: f32[S,4], %i: i32[S], %t: i32[1,2])  where S in 1..2
  %kc = state "k" : f32[2,1,4]
  %vc = state "v" : f32[2,1,4]
  scope "layers.0"
  %w = param "w0" : f32[4,4]
  %a = matmul(%x, %w) {tb=true}
  scope "layers.0.attn"
  %k1, %v1 = kv.append(%kc, %vc, %a, %x, %i, %i, %t)
  %b = relu2(%a)
  scope "layers.1"
  %k2, %v2 = kv.append(%k1, %v1, %b, %b, %i, %i, %t)
  %0 = silu(%b)
  %1 = gelu(%x)
  scope "layers.10"
  %d = add(%0, %1)
  scope ""
  %y = add(%d, %a)
  return %y`

func TestFilter(t *testing.T) {
	g := parse(t, twoLayers)
	tests := []struct{ scope, want string }{
		{"layers.0", `graph @layers.0(%x: f32[S,4], %i: i32[S], %t: i32[1,2]) where S in 1..2
scope "layers.0"
%w = param "w0" : f32[4,4]
%a = matmul(%x, %w) {tb=true} : f32[S,4]
scope ""
%kc = state "k" : f32[2,1,4]
%vc = state "v" : f32[2,1,4]
scope "layers.0.attn"
%k1, %v1 = kv.append(%kc, %vc, %a, %x, %i, %i, %t) : f32[2,1,4], f32[2,1,4]
%b = relu2(%a) : f32[S,4]
return %k1, %v1, %b, %a`},
		{"layers.0.attn", `graph @layers.0.attn(%a: f32[S,4], %x: f32[S,4], %i: i32[S], %t: i32[1,2]) where S in 1..2
%kc = state "k" : f32[2,1,4]
%vc = state "v" : f32[2,1,4]
scope "layers.0.attn"
%k1, %v1 = kv.append(%kc, %vc, %a, %x, %i, %i, %t) : f32[2,1,4], f32[2,1,4]
%b = relu2(%a) : f32[S,4]
return %k1, %v1, %b`},
		// The caches arrive already appended to, and are states here too.
		{"layers.1", `graph @layers.1(%b: f32[S,4], %i: i32[S], %t: i32[1,2], %x: f32[S,4]) where S in 1..2
%k1 = state "k1" : f32[2,1,4]
%v1 = state "v1" : f32[2,1,4]
scope "layers.1"
%k2, %v2 = kv.append(%k1, %v1, %b, %b, %i, %i, %t) : f32[2,1,4], f32[2,1,4]
%0 = silu(%b) : f32[S,4]
%1 = gelu(%x) : f32[S,4]
return %0, %1`},
		// Values without a name enter under their number.
		{"layers.10", `graph @layers.10(%0: f32[S,4], %1: f32[S,4]) where S in 1..2
scope "layers.10"
%d = add(%0, %1) : f32[S,4]
return %d`},
	}
	for _, tt := range tests {
		part, err := g.Filter(tt.scope)
		if err != nil {
			t.Errorf("%s: %v", tt.scope, err)
			continue
		}
		if diff := cmp.Diff(tt.want, text(part)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.scope, diff)
		}
		roundTrip(t, part, allOps())
	}
	for _, scope := range []string{"layers", "layers.2", "attn", "layers.0.att"} {
		part, err := g.Filter(scope)
		if scope == "layers" {
			if err != nil || len(part.Nodes) < 10 {
				t.Errorf("layers: %v", err)
			}
		} else if err == nil || !strings.Contains(err.Error(), `graph g has no scope "`+scope+`"`) {
			t.Errorf("%s: got %v", scope, err)
		}
	}
}

func TestFilterLeavesTheGraphAlone(t *testing.T) {
	g := parse(t, twoLayers)
	before := g.String()
	for _, scope := range []string{"layers.0", "layers.1", "layers.10"} {
		if _, err := g.Filter(scope); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, g.String()); diff != "" {
		t.Error(diff)
	}
}

// TestFilteredPartsComputeTheSame runs a part on the values that enter it.
func TestFilteredPartsComputeTheSame(t *testing.T) {
	g := parse(t, twoLayers)
	x := graph.FromF32([]float32{1, -2, 3, 0.5, -1, 2, 0.25, 4}, 2, 4)
	w := graph.FromF32([]float32{1, 2, 3, 4, -1, 0, 1, 0, 2, 2, -2, 1, 0, 0, 0, 1}, 4, 4)
	env := graph.Env{
		Inputs: map[string]graph.Tensor{"x": x, "i": graph.FromI32([]int32{0, 0}, 2), "t": graph.FromI32([]int32{0, 1}, 1, 2)},
		Params: map[string]graph.Tensor{"w0": w},
	}
	whole, err := graph.Eval(g, env)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]graph.Tensor{}
	for v, s := range g.Names() {
		byName[s[1:]] = whole.Values[v]
	}
	for _, scope := range []string{"layers.0", "layers.0.attn", "layers.1", "layers.10", "layers"} {
		part, err := g.Filter(scope)
		if err != nil {
			t.Fatal(err)
		}
		in := graph.Env{Inputs: map[string]graph.Tensor{}, Params: env.Params, States: map[string]graph.Tensor{"k1": byName["k1"], "v1": byName["v1"]}}
		for _, n := range part.Inputs() {
			in.Inputs[graph.SourceName(n)] = byName[graph.SourceName(n)]
		}
		res, err := graph.Eval(part, in)
		if err != nil {
			t.Fatal(err)
		}
		names := part.Names()
		for i, v := range part.Outs {
			if diff := cmp.Diff(byName[names[v][1:]], res.Outs[i]); diff != "" {
				t.Errorf("%s: %s differs: %s", scope, names[v], diff)
			}
		}
	}
}
