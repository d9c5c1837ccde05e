package graph_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

type fusedAttrs struct {
	Eps, By float64
	N       int
	Wide    int64
	Narrow  int32
	Flag    bool
	Word    string
	Unused  int
}

// everyAttrOp has an attribute of each kind; attrsOp's body passes them on.
var everyAttrOp = graph.Define(graph.Def[fusedAttrs]{
	Name: "test.attrs", In: "x", Out: "y",
	Infer: func(_ fusedAttrs, in []graph.Type) ([]graph.Type, error) { return in, nil },
	Ref: func(a fusedAttrs, in, out []graph.Tensor) error {
		out[0].F32()[0] = float32(a.Eps) + float32(a.By) + float32(a.N) + float32(a.Wide) + float32(a.Narrow) + float32(len(a.Word))
		return nil
	},
})

var attrsOp = graph.Define(graph.Def[fusedAttrs]{
	Name: "test.fused_attrs", Uses: []*graph.OpDef{everyAttrOp.OpDef},
	Body: `(%x) -> (%y) { // a comment with "quotes" and }
		%y = test.attrs(%x) {eps=$eps, by=0.25, n=$n, wide=$wide, narrow=$narrow, flag=$flag, word=$word}
	}`,
})

func TestAttributesPassThroughABody(t *testing.T) {
	tests := []fusedAttrs{
		{By: 0.25},
		{Eps: 1e-5, By: 0.25, N: -3, Wide: math.MinInt64, Narrow: math.MaxInt32, Flag: true, Word: "even"},
		{Eps: math.Inf(-1), By: 0.25, Word: "true"},
		{Eps: math.SmallestNonzeroFloat64, By: 0.25, Word: `a "b", {c}=$d // é` + "\n`"},
		{Eps: math.Copysign(0, -1), By: 0.25, Word: "$eps"},
	}
	set := graph.NewOpSet(everyAttrOp.OpDef, attrsOp.OpDef)
	for _, want := range tests {
		owner := want
		owner.By = 7 // not passed on
		b := graph.NewBuilder("g")
		x := b.Input("x", graph.F32)
		outs, err := attrsOp.Inline(b, owner, []graph.Value{x})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := everyAttrOp.Of(outs[0].Node())
		if !ok || got != want {
			t.Errorf("inlined with %+v: %+v", want, got)
		}
		roundTrip(t, finish(t, b, outs[0], attrsOp.One(owner, x)), set)

		// Matching is the inverse.
		bound := map[string]string{"kept": "1"}
		if !attrsOp.Body.Stmts[0].BindAttrs(want, bound) {
			t.Errorf("%+v does not match", want)
		}
		back, err := attrsOp.MakeAttrs(bound)
		want.By = 0 // a literal in the body is no attribute of the fused op
		if err != nil || back != want {
			t.Errorf("bound as %+v, %v; want %+v", back, err, want)
		}
		if bound["kept"] != "1" {
			t.Error("earlier bindings are lost")
		}
	}
}

func TestBindAttrsContradictions(t *testing.T) {
	st := attrsOp.Body.Stmts[0]
	tests := []struct {
		name  string
		attrs fusedAttrs
		bound map[string]string
	}{
		{"another literal", fusedAttrs{By: 0.5, N: 1}, nil},
		{"an attribute that the body leaves zero", fusedAttrs{By: 0.25, Unused: 1}, nil},
		{"bound before", fusedAttrs{By: 0.25, N: 2}, map[string]string{"n": "1"}},
	}
	for _, tt := range tests {
		bound := map[string]string{}
		for k, v := range tt.bound {
			bound[k] = v
		}
		if st.BindAttrs(tt.attrs, bound) {
			t.Errorf("%s: matches", tt.name)
		}
		if len(bound) != len(tt.bound) {
			t.Errorf("%s: a failed match leaves %v", tt.name, bound)
		}
	}
	same := graph.Define(graph.Def[fusedAttrs]{Name: "test.same", Uses: []*graph.OpDef{everyAttrOp.OpDef},
		Body: "(%x) -> (%y) {\n%y = test.attrs(%x) {eps=$eps, by=$eps}\n}"})
	bound := map[string]string{}
	if same.Body.Stmts[0].BindAttrs(fusedAttrs{Eps: 1, By: 2}, bound) || len(bound) != 0 {
		t.Errorf("one name stands for 1 and for 2: %v", bound)
	}
	if !same.Body.Stmts[0].BindAttrs(fusedAttrs{Eps: 2, By: 2}, bound) {
		t.Error("one name for two equal attributes does not match")
	}
}

// bodyOp has a constant, an unused operand, several results and an operand that
// is itself a result.
var bodyOp = graph.Define(graph.Def[ops.ScaleAttrs]{
	Name: "test.body",
	Uses: []*graph.OpDef{ops.AddOp.OpDef, ops.ScaleOp.OpDef, ops.SumOp.OpDef},
	Body: `(%x, %unused) -> (%total, %y, %x) {
		%c     = const [0.5] : f32[1]
		%h     = sum(%c)

		%s     = scale(%x) {by=$by} // not a position
		%y     = add(%s, %h)
		%total = sum(%y)
	}`,
})

func TestBodyInfersRunsAndInlines(t *testing.T) {
	if err := bodyOp.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x", "unused"}, bodyOp.In) + cmp.Diff([]string{"total", "y", "x"}, bodyOp.Out); diff != "" {
		t.Error(diff)
	}
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 8)
	x := b.Input("x", graph.F32, s.Times(2).Plus(1), graph.C(2))
	n := b.Input("n", graph.I32, s)
	outs := bodyOp.Emit(ops.ScaleAttrs{By: 3}, x, n)
	var types []string
	for _, v := range outs {
		types = append(types, v.Type().String())
	}
	if diff := cmp.Diff([]string{"f32[]", "f32[2*S+1,2]", "f32[2*S+1,2]"}, types); diff != "" {
		t.Error(diff)
	}
	inlined, err := bodyOp.Inline(b, ops.ScaleAttrs{By: 3}, []graph.Value{x, n})
	if err != nil {
		t.Fatal(err)
	}
	g := finish(t, b, append(outs, inlined...)...)
	xs := graph.FromF32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	res, err := graph.Eval(g, graph.Env{Inputs: map[string]graph.Tensor{"x": xs, "n": graph.FromI32([]int32{1}, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float32{{66}, {3.5, 6.5, 9.5, 12.5, 15.5, 18.5}, {1, 2, 3, 4, 5, 6}}
	for i, v := range res.Outs {
		if diff := cmp.Diff(want[i%3], v.F32()); diff != "" {
			t.Errorf("result %d: %s", i, diff)
		}
	}
	if _, err := ops.AddOp.Inline(b, graph.None{}, []graph.Value{x, x}); err == nil || !strings.Contains(err.Error(), "op add has no body") {
		t.Errorf("inlining a primitive op gives %v", err)
	}
	if _, err := bodyOp.Inline(b, ops.ScaleAttrs{}, []graph.Value{x}); err == nil {
		t.Error("a body takes too few operands")
	}
}

func TestBodyTypeErrors(t *testing.T) {
	b := graph.NewBuilder("g")
	bodyOp.Emit(ops.ScaleAttrs{By: 1}, b.Input("i", graph.I32), b.Input("j", graph.I32))
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "test.body: inside, scale: x is i32[], want element type [f32]") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestFusedOfFused(t *testing.T) {
	outer := graph.Define(graph.Def[graph.None]{
		Name: "test.outer", Uses: []*graph.OpDef{bodyOp.OpDef, bumpOp.OpDef},
		Body: `(%s, %x) -> (%t, %s1) {
			%t, %y, %z = test.body(%x, %x) {by=2}
			%s1        = test.bump(%s, %t)
		}`,
	})
	if err := outer.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]graph.Update{{In: 0, Out: 1}}, outer.Updates); diff != "" {
		t.Errorf("updates of the body: %s", diff)
	}
	b := graph.NewBuilder("g")
	out := outer.Emit(graph.None{}, b.State("s", graph.F32, graph.C(2)), b.Input("x", graph.F32, graph.C(1)))
	g := finish(t, b, out[0])
	res, err := graph.Eval(g, graph.Env{
		Inputs: map[string]graph.Tensor{"x": graph.FromF32([]float32{3}, 1)},
		States: map[string]graph.Tensor{"s": graph.FromF32([]float32{1, 2}, 2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{6.5}, res.Outs[0].F32()) + cmp.Diff([]float32{7.5, 8.5}, res.States["s"].F32()); diff != "" {
		t.Error(diff)
	}
}
