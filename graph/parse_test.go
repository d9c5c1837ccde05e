package graph_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func parse(t testing.TB, text string) *graph.Graph {
	t.Helper()
	g, err := graph.Parse(strings.NewReader(text), allOps())
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return g
}

// TestGoldenText parses each hand-written testdata/*.in.txt and compares its
// printed form with the *.out.txt beside it.
func TestGoldenText(t *testing.T) {
	files, err := filepath.Glob("testdata/text/*.in.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, in := range files {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.txt"), func(t *testing.T) {
			src, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			g := parse(t, string(src))
			roundTrip(t, g, allOps())
			got := g.String()
			out := strings.TrimSuffix(in, ".in.txt") + ".out.txt"
			if *update {
				if err := os.WriteFile(out, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatalf("%v; run with -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", out, diff)
			}
		})
	}
}

func TestParseErrorsNameTheLine(t *testing.T) {
	const head = "graph @g(%x: f32[S,4], %i: i32[S])  where S in 1..8\n"
	tests := []struct{ text, want string }{
		{"", "line 0: no graph"},
		{"\n// only a comment\n", "line 2: no graph"},
		{head, "line 1: no return"},
		{"graf @g()", `line 1: want "graph"`},
		{"graph g()", `line 1: want "@"`},
		{"graph @a where b(%x: f32[]) where S in 1..2", "line 1: bad graph name"},
		{"graph @a b()", `line 1: bad graph name "a b"`},
		{"graph @g", `line 1: want "("`},
		{"graph @g(%x f32[])", `line 1: want ":"`},
		{"graph @g(%x: f32[)", "line 1: unfinished type"},
		{"graph @g(%x: f32[2]@)", "line 1: bad type"},
		{"graph @g(%x: q4[2])", `line 1: unknown element type "q4"`},
		{"graph @g(%x: f32[2]", `line 1: want ","`},
		{"graph @g(%: f32[2])", "line 1: empty name"},
		{"graph @g(x: f32[2])", "line 1: want a %name"},
		{"graph @g(%x: f32[2]) etc", `line 1: unexpected "etc"`},
		{"graph @g(%x: f32[2], %x: f32[2])", `line 1: input: "x" is declared twice`},
		{"graph @g(%x: f32[S])", "line 1: input: \"x\": symbol S of f32[S] is not declared"},
		{"graph @g(%x: f32[-1])", "line 1: input: \"x\": negative extent"},
		{"graph @g()  where S", "line 1: bad symbol"},
		{"graph @g()  where S in 1", "line 1: bad symbol"},
		{"graph @g()  where S in 1..2x", "line 1: bad symbol"},
		{"graph @g()  where S in 2..1", `line 1: bad symbol "S" in 2..1`},
		{"graph @g()  where S in 1..2, S in 1..3", "line 1: symbol S in 1..3 was declared in 1..2"},
		{head + "  %y = relu2(%z)", "line 2: %z is not defined"},
		{head + "\n\n  %y = relu3(%x)", `line 4: unknown op "relu3"`},
		{head + "  %y = relu2(%x", `line 2: want ")"`},
		{head + "  %y = relu2 %x", `line 2: want "("`},
		{head + "  y = relu2(%x)", "line 2: want a %name"},
		{head + "  %y relu2(%x)", `line 2: want "="`},
		{head + "  %y = relu2(%x) : f32[S,5]", "line 2: %y is f32[S,4], written as f32[S,5]"},
		{head + "  %y = relu2(%x) : bf16[S,4]@lay", "line 2: %y is f32[S,4], written as bf16[S,4]@lay"},
		{head + "  %y = relu2(%x) : f32[S,4], f32[]", "line 2: relu2 gives 1 results, 2 types are written"},
		{head + "  %y, %z = relu2(%x) : f32[S,4]", "line 2: relu2 gives 1 results, 2 are named"},
		{head + "  %y = relu2(%x) : f32[S,4] junk", `line 2: unexpected "junk"`},
		{head + "  %y = relu2(%x, %x)", "line 2: relu2: want 1 operands (x), got 2"},
		{head + "  %y = add(%x, %i)", "line 2: add: b is i32[S], want element type [f32]; operands are (f32[S,4], i32[S])"},
		{head + "  %x = relu2(%x)", "line 2: %x is defined twice"},
		{head + "  %y = relu2(%x)\n  %y = relu2(%x)", "line 3: %y is defined twice"},
		{head + "  %y = scale(%x) {by=x}", `line 2: scale: attribute by: bad number "x"`},
		{head + "  %y = scale(%x) {bye=2}", `line 2: scale has no attribute "bye"`},
		{head + "  %y = scale(%x) {by=1, by=2}", "line 2: scale: attribute by given twice"},
		{head + "  %y = scale(%x) {by=1", `line 2: want ","`},
		{head + "  %y = scale(%x) {=1}", "line 2: bad attribute"},
		{head + "  %y = scale(%x) {by=}", "line 2: bad attribute"},
		{head + "  %y = quant.act(%x) {bits=8.5, round=even}", `bad integer "8.5"`},
		{head + "  %y, %s = quant.act(%x) {bits=99999999999999999999, round=even}", "bad integer"},
		{head + "  %y = matmul(%x, %x) {tb=maybe}", `bad bool "maybe"`},
		{head + "  %w = param 'w' : f32[2]", "line 2: want a quoted string"},
		{head + "  %w = param `w` : f32[2]", "line 2: want a quoted string"},
		{head + "  %w = param w : f32[2]", "line 2: want a quoted string"},
		{head + "  %w = param \"w\"", `line 2: param "w" needs one type`},
		{head + "  %w = param \"w\" : f32[S]", "a param's extents are constants"},
		{head + "  %w = param \"w\" : f32[4]\n  %v = param \"w\" : f32[5]", `line 3: param: "w" is declared twice`},
		{head + "  %w = input \"w\" : f32[2]", `line 2: unknown op "input"`},
		{head + "  %c = const [1]", "line 2: a constant needs one type"},
		{head + "  %c = const [1, 2] : f32[3]", "line 2: 2 values for f32[3]"},
		{head + "  %c = const [1, x] : f32[2]", `line 2: bad number "x"`},
		{head + "  %c = const [1e99] : f32[1]", "line 2: bad number"},
		{head + "  %c = const [2147483648] : i32[1]", "line 2: bad integer"},
		{head + "  %c = const [1] : i8[1]", `line 2: i8 constants are written as x"…"`},
		{head + "  %c = const x\"0\" : i8[1]", "line 2: encoding/hex"},
		{head + "  %c = const x\"0000\" : i8[1]", "line 2: i8[1] needs 1 bytes, got 2"},
		{head + "  %c = const [] : f32[S]", "line 2: symbol S has no value"},
		{head + "  %c = const [] : f32[0,9999999999999]", "line 2: shape"},
		{head + "  %c = const [1 : f32[1]", "line 2: a constant needs one type"},
		{head + "  scope mlp", `line 2: bad scope "scope mlp"`},
		{head + "  return %y", "line 2: %y is not defined"},
		{head + "  return %x %i", `line 2: unexpected "%i"`},
		{head + "  return %x,", "line 2: want a %name"},
		{head + "  return\n  %y = relu2(%x)", "line 3: unexpected \"%y = relu2(%x)\" after return"},
		{head + "  return %x\n  return %x", "line 3: unexpected"},
		{head + "  %s = state \"s\" : f32[]\n  %a, %b, %c = adamw(%s, %s, %s, %s, %s, %s)\n  return", "line 3: adamw: hyper is f32[], want rank 1"},
		{head + strings.Repeat("x", 5<<20), "line 2: bufio.Scanner: token too long"},
	}
	for _, tt := range tests {
		g, err := graph.Parse(strings.NewReader(tt.text), allOps())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			text := tt.text[:min(len(tt.text), 200)]
			t.Errorf("got %v (graph %v), want %q for\n%s", err, g, tt.want, text)
		}
	}
}

func TestParseVerifies(t *testing.T) {
	_, err := graph.Parse(strings.NewReader(`graph @g(%k: f32[1,8], %i: i32[1], %t: i32[1,1])
  %kc = state "k" : f32[1,1,8]
  %a, %b = kv.append(%kc, %kc, %k, %k, %i, %i, %t) // m.go:7
  return %a`), allOps())
	if err == nil || !strings.Contains(err.Error(), "m.go:7: kv.append: second writer of state %kc") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/text/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	set := allOps()
	f.Fuzz(func(t *testing.T, text string) {
		g, err := graph.Parse(strings.NewReader(text), set)
		if err != nil {
			return
		}
		if err := graph.Verify(g, graph.AnyPhase); err != nil {
			t.Fatalf("a graph that parses is not valid: %v", err)
		}
		roundTrip(t, g, set)
		if _, err := graph.Schedule(g); err != nil {
			t.Fatal(err)
		}
		for _, n := range g.Nodes {
			if n.Op == graph.InputOp.OpDef {
				continue
			}
			if _, err := g.Filter(n.Scope); err != nil {
				t.Fatalf("scope %q: %v\n%s", n.Scope, err, text)
			}
		}
	})
}
