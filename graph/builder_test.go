package graph_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/graph/testdata/extop"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// allOps is every op of this module and the foreign one.
func allOps() graph.OpSet {
	return graph.NewOpSet(ops.All()...).With(ternary.All()...).With(bitlinear.All()...).With(extop.DoubleOp.OpDef)
}

// mistakes makes every mistake that a builder reports. A line that is to be
// reported says how; every other line must stay silent.
func mistakes() (*graph.Graph, error) {
	b := graph.NewBuilder("mistakes")
	other := graph.NewBuilder("other")
	s := b.Sym("S", 1, 8)
	b.Sym("S", 1, 8)
	b.Sym("S", 1, 9)     // ERROR symbol S in 1..9 was declared in 1..8
	b.Sym("two S", 1, 2) // ERROR bad symbol "two S"
	b.Sym("N", 3, 2)     // ERROR bad symbol "N" in 3..2
	x := b.Input("x", graph.F32, s, graph.C(4))
	v := b.Input("v", graph.F32, graph.C(4))
	b.Input("x", graph.F32, s, graph.C(4))               // ERROR input: "x" is declared twice
	b.Input("", graph.F32)                               // ERROR input: empty name
	b.Input("my x", graph.F32)                           // ERROR input: name "my x"
	b.Input("t", graph.F32, graph.Dim{Sym: "T", Mul: 1}) // ERROR input: "t": symbol T of f32\[T\] is not declared
	b.Input("n", graph.F32, s.Plus(-2))                  // ERROR input: "n": extent S-2 .* negative
	b.Input("z", graph.F32, graph.Dim{Sym: "S"})         // ERROR input: "z": .* zero times a symbol
	w := b.Param("w", graph.F32, 4, 4)
	b.Param("w", graph.F32, 4, 4)
	b.Param("w", graph.BF16, 4, 4)                                                // ERROR param: "w" is declared twice, as f32\[4,4\] and as bf16\[4,4\]
	b.Param("neg", graph.F32, -1)                                                 // ERROR param: "neg": negative extent
	b.Param("big", graph.F32, 1<<30, 1<<30)                                       // ERROR param: "big": .* more than 2\^40 elements
	b.Param("bad", graph.InvalidDType, 1)                                         // ERROR param: "bad": bad element type invalid
	b.Const(graph.NewTensor(graph.F32, 4097))                                     // ERROR const: 4097 elements; larger than 4096 belongs in a param
	b.Const(graph.Tensor{Elem: graph.F32, Dims: []int{1 << 50}})                  // ERROR const: .* more than 2\^40
	b.Const(graph.Tensor{Elem: graph.F32, Dims: []int{2}, Data: make([]byte, 4)}) // ERROR const: f32\[2\] with 4 bytes
	b.Const(graph.Tensor{})                                                       // ERROR const: invalid\[\] with 0 bytes
	y := ops.Add(x, w)                                                            // ERROR add: a is f32\[S,4\] but b is f32\[4,4\]; .* operands are \(f32\[S,4\], f32\[4,4\]\)
	y = ops.Mul(y, y)
	y = ops.ReLU2(y)
	y = ops.Linear(y, w)
	y = ops.RMSNorm(y, v, 1e-5)
	ops.ReLU2(b.Input("i", graph.I32, s))                          // ERROR relu2: x is i32\[S\], want element type \[f32\]
	ops.Linear(x, b.Param("w5", graph.F32, 4, 5))                  // ERROR matmul: inner dimensions differ
	ops.Add(x, graph.Value{})                                      // ERROR add: operand b is no value
	ops.Add(x, other.Input("x", graph.F32, graph.C(4)))            // ERROR add: operand b belongs to another graph
	extop.Double(v)                                                // ERROR ext.double: x is f32\[4\], want rank 2
	extop.Quad(v)                                                  // ERROR ext.double: x is f32\[4\], want rank 2
	extop.Oct(v)                                                   // ERROR ext.double: x is f32\[4\], want rank 2
	ops.RoPE(x, b.Input("pos", graph.I32, s), 1e4, 3)              // ERROR rope: head_dim 3 is not a positive even number
	b.Emit(ops.AddOp.OpDef, graph.None{}, x)                       // ERROR add: want 2 operands \(a, b\), got 1
	b.Emit(ops.AddOp.OpDef, 7, x, x)                               // ERROR add: attributes are int, want graph.None
	b.Emit(ops.AddOp.OpDef, nil, x, x)                             // ERROR add: attributes are <nil>, want graph.None
	b.Emit(graph.InputOp.OpDef, graph.NameAttrs{Name: "q"})        // ERROR input: made by the builder only
	bitlinear.Linear(x, v)                                         // ERROR bitlinear: inside, ternary.fake: w is f32\[4\], want rank 2
	helped(x, w)                                                   // ERROR add: a is f32\[S,4\]
	b.Errorf("head_dim %d", 3)                                     // ERROR head_dim 3
	return b.Finish(y, graph.Value{}, other.Param("p", graph.F32)) // ERROR output 1 is no value ERROR output 2 belongs to another graph
}

func helped(x, w graph.Value) {
	graph.Helper(x)
	ops.Add(x, w)
}

func TestEveryMistakeIsReportedAtItsLine(t *testing.T) {
	_, file, _, _ := runtime.Caller(0)
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type mistake struct {
		line    int
		pattern string
	}
	var want []mistake
	for i, l := range strings.Split(string(src), "\n") {
		_, comment, ok := strings.Cut(l, " // "+"ERROR ")
		if !ok {
			continue
		}
		for _, p := range strings.Split(comment, " ERROR ") {
			want = append(want, mistake{i + 1, p})
		}
	}
	if len(want) < 30 {
		t.Fatalf("only %d marked lines", len(want))
	}
	g, err := mistakes()
	if err == nil || g != nil {
		t.Fatal("the mistakes were accepted")
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("want the joined errors, got %T", err)
	}
	got := joined.Unwrap()
	for i := range max(len(got), len(want)) {
		if i >= len(want) {
			t.Errorf("unexpected: %v", got[i])
			continue
		}
		if i >= len(got) {
			t.Errorf("line %d: no error like %q", want[i].line, want[i].pattern)
			continue
		}
		var e *graph.BuildError
		if !errors.As(got[i], &e) {
			t.Fatalf("error %d is a %T", i, got[i])
		}
		if e.Pos.File != file || e.Pos.Line != want[i].line {
			t.Errorf("%v\nreported at %s:%d, want line %d (%s)", e, e.Pos.File, e.Pos.Line, want[i].line, want[i].pattern)
		}
		prefix := regexp.QuoteMeta(filepath.Base(file)+":"+strconv.Itoa(want[i].line)) + ": "
		if !regexp.MustCompile("^" + prefix + want[i].pattern).MatchString(e.Error()) {
			t.Errorf("got  %s\nwant %s%s", e, prefix, want[i].pattern)
		}
	}
}

func TestPositionOfForeignOps(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(2), graph.C(2))
	line := func(v graph.Value) string { return v.Node().Pos[0].String() }
	_, _, here, _ := runtime.Caller(0)
	tests := []struct {
		v    graph.Value
		want string
	}{
		{extop.Double(x), "builder_test.go:" + strconv.Itoa(here+5)},
		{extop.Quad(x), "builder_test.go:" + strconv.Itoa(here+6)},
		{extop.Oct(x), "builder_test.go:" + strconv.Itoa(here+7)},
		{extop.Plain(x), "compose.go:20"},
		{func() graph.Value { return extop.DoubleOp.One(graph.None{}, x) }(), "builder_test.go:" + strconv.Itoa(here+9)},
		{extop.Quad(x).Node().In[0], "builder_test.go:" + strconv.Itoa(here+10)},
	}
	for _, tt := range tests {
		if got := line(tt.v); got != tt.want {
			t.Errorf("position %s, want %s", got, tt.want)
		}
	}
}

func TestEveryWrapperReportsItsCaller(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 8)
	x := b.Input("x", graph.F32, s, graph.C(4))
	ids := b.Input("ids", graph.I32, s)
	w := b.Param("w", graph.F32, 4, 4)
	g := b.Param("g", graph.F32, 4)
	att := ops.AttentionAttrs{Heads: 2, KVHeads: 2}
	q, scale := ops.QuantAct(x, ops.Int8)
	tern, gamma := ternary.Quantize(w)
	_, _, here, _ := runtime.Caller(0)
	vals := []graph.Value{
		ops.Add(x, x), ops.Mul(x, x), ops.Scale(x, 2), ops.Sum(x), ops.Fill(b.ConstF32(1), x), ops.Cast(x, graph.BF16), ops.ReLU2(x), ops.SiLU(x), ops.GELU(x), ops.Embedding(w, ids), ops.Rows(x, ids), ops.RMSNorm(x, g, 1), ops.MatMul(x, w, false, false), ops.Linear(x, w), ops.RoPE(x, ids, 1e4, 2), ops.Attention(x, x, x, ids, ids, att), ops.Softmax(x), ops.CrossEntropy(x, ids), ops.FakeQuant(x, ops.Int8), ternary.Fake(w), ternary.MatMul(q, tern), bitlinear.Linear(x, w), bitlinear.Rescale(ternary.MatMul(q, tern), scale, gamma),
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	want := graph.Pos{File: "builder_test.go", Line: here + 2}
	for _, v := range vals {
		p := v.Node().Pos[0]
		p.File = filepath.Base(p.File)
		if p != want {
			t.Errorf("%s is at %s, want %s", v.Op().Name, p, want)
		}
	}
}

func TestPoisonStaysInItsGraph(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(2))
	bad := ops.Add(x, b.Input("y", graph.F32, graph.C(3)))
	if bad.Valid() || bad.String() != "<poisoned>" || !bad.Type().Equal(graph.Type{}) || bad.Dim(0) != (graph.Dim{}) {
		t.Errorf("a poisoned value looks like %v %v", bad, bad.Type())
	}
	for _, v := range ops.AttentionOp.Emit(ops.AttentionAttrs{}, bad, x, x, x, x) {
		if v.Valid() {
			t.Error("an op on a poisoned value gives a value")
		}
	}
	if n := strings.Count(b.Err().Error(), "\n"); n != 0 {
		t.Errorf("one mistake gives %d errors:\n%v", n+1, b.Err())
	}
	if _, err := b.Finish(bad); err == nil {
		t.Error("the graph finishes")
	}
	var none graph.Value
	if v := ops.ReLU2(none); v.Valid() || v.Builder() != nil || v.Op() != nil || v.Node() != nil {
		t.Error("an op on no value gives a value")
	}
}

func TestFinishDropsDeadNodesAndKeepsInputs(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(2))
	b.Input("unused", graph.F32, graph.C(2))
	ops.ReLU2(b.Param("dead", graph.F32, 3))
	y := ops.SiLU(x)
	ops.GELU(y)
	g, err := b.Finish(y)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range g.Nodes {
		got = append(got, n.Op.Name+" "+graph.SourceName(n))
	}
	if diff := cmp.Diff([]string{"input x", "input unused", "silu "}, got); diff != "" {
		t.Error(diff)
	}
}

func TestScopesAndNames(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(2))
	leave := b.Scope("layers.0")
	inner := b.Scope("mlp")
	if got := b.Path("up"); got != "layers.0.mlp.up" {
		t.Errorf("Path is %q", got)
	}
	y := b.Name(ops.SiLU(x), "gate")
	inner()
	z := b.Name(ops.SiLU(y), "not a name")
	leave()
	out := ops.Add(y, z)
	g, err := b.Finish(out)
	if err != nil {
		t.Fatal(err)
	}
	if y.Node().Scope != "layers.0.mlp" || z.Node().Scope != "layers.0" || out.Node().Scope != "" {
		t.Errorf("scopes are %q, %q, %q", y.Node().Scope, z.Node().Scope, out.Node().Scope)
	}
	if names := g.Names(); names[y] != "%gate" || names[z] != "%0" {
		t.Errorf("names are %s and %s", names[y], names[z])
	}
}

func TestDefinitionErrorsReachTheUser(t *testing.T) {
	infer := func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return in[:1], nil }
	relu := []*graph.OpDef{ops.ReLU2Op.OpDef, ops.KVAppendOp.OpDef, ops.ScaleOp.OpDef}
	type unexported struct{ a int }
	type float32s struct{ A float32 }
	type twice struct {
		A int
		B int `ir:"a"`
	}
	type spaced struct {
		A int `ir:"a b"`
	}
	none := func(d graph.Def[graph.None]) *graph.OpDef { return graph.Define(d).OpDef }
	tests := []struct {
		op   *graph.OpDef
		want string
	}{
		{none(graph.Def[graph.None]{Name: "has space", In: "x", Out: "y", Infer: infer}), `bad op name "has space"`},
		{none(graph.Def[graph.None]{Name: "return", In: "x", Out: "y", Infer: infer}), `bad op name "return"`},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Out: "y"}), "no Infer and no Body"},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Infer: infer}), "no results"},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Out: "y", Infer: infer, Updates: []graph.Update{{In: 1}}}), "out of range"},
		{none(graph.Def[graph.None]{Name: "a", Infer: infer, Uses: relu, Body: "(%x) -> (%y) {\n%y = relu2(%x)\n}"}), "leave In, Out, Infer and Ref out"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "%y = relu2(%x)"}), "want (%in) -> (%out)"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) junk {\n%y = relu2(%x)\n}"}), `unexpected "junk "`},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x, %x) -> (%y) {\n%y = relu2(%x)\n}"}), "%x is named twice"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = relu2(%z)\n}"}), "%z is not defined"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%x = relu2(%x)\n}"}), "%x is defined twice"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%z) {\n%y = relu2(%x)\n}"}), "result %z is not defined"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = silu(%x)\n}"}), `unknown op "silu"`},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = relu2(%x, %x)\n}"}), "relu2 wants 1 operands, got 2"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y, %z = relu2(%x)\n}"}), "relu2 gives 1 results, 2 are named"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = scale(%x) {by=$by}\n}"}), "$by is no attribute of a"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = scale(%x) {bye=2}\n}"}), `scale has no attribute "bye"`},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = scale(%x) {by=two}\n}"}), `bad number "two"`},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = param \"p\" : f32[]\n}"}), "cannot declare a param"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%a, %b, %k, %s, %p, %t) -> (%y) {\n%y, %z = kv.append(%a, %b, %k, %k, %s, %p, %t)\n}"}), "%z is no result"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%a, %b, %k, %s, %p, %t) -> (%y, %z) {\n%y, %z = kv.append(%a, %b, %k, %k, %s, %p, %t)\n}", Updates: []graph.Update{{In: 0, Out: 1}, {In: 1, Out: 0}}}), "the body says [{0 0} {1 1}]"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%a, %b, %k, %s, %p, %t) -> (%y, %z) {\n%r = relu2(%k)\n%y, %z = kv.append(%r, %b, %k, %k, %s, %p, %t)\n}"}), "%r, which is no operand's state"},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Out: "y", BF16: "x"}), "want operands -> results"},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Out: "y", BF16: "x -> z"}), `"z" is none of [y]`},
		{none(graph.Def[graph.None]{Name: "a", In: "x", Out: "y", BF16: "-> y"}), "at least one operand"},
		{none(graph.Def[graph.None]{Name: "a", Uses: relu, Body: "(%x) -> (%y) {\n%y = relu2(%x)\n}", BF16: "x -> y"}), "leave BF16 out"},
		{graph.Define(graph.Def[unexported]{Name: "a", In: "x", Out: "y"}).OpDef, "field a is not exported"},
		{graph.Define(graph.Def[float32s]{Name: "a", In: "x", Out: "y"}).OpDef, "field A has unsupported type float32"},
		{graph.Define(graph.Def[twice]{Name: "a", In: "x", Out: "y"}).OpDef, `bad or repeated name "a"`},
		{graph.Define(graph.Def[spaced]{Name: "a", In: "x", Out: "y"}).OpDef, `bad or repeated name "a b"`},
		{graph.Define(graph.Def[int]{Name: "a", In: "x", Out: "y"}).OpDef, "attributes must be a struct"},
	}
	for _, tt := range tests {
		if err := tt.op.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("definition error is %v, want %q", err, tt.want)
			continue
		}
		b := graph.NewBuilder("g")
		b.Emit(tt.op, graph.None{}, b.Input("x", graph.F32))
		if err := b.Err(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "builder_test.go:") {
			t.Errorf("the user sees %v, want %q with a position", err, tt.want)
		}
	}
}
