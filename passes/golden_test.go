package passes_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/ops/ternary"
	"github.com/trit-ml/trit/passes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func allOps() graph.OpSet {
	return graph.NewOpSet(ops.All()...).With(ternary.All()...).With(bitlinear.All()...).With(screen.All()...).With(collective.All()...)
}

// underTest names the passes that have a folder of golden files.
func underTest() map[string]passes.Pass {
	adam := passes.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1}
	all := []passes.Pass{
		passes.KVCache(passes.Cache{Seqs: 2, Blocks: 4, PerSeq: 4, Size: 4, Elem: graph.F32}),
		passes.LastRow(8),
		passes.ScreenHead(passes.Screen{Tops: 2, Least: 16}),
		passes.LowerBitLinear(func(p string) bool { return strings.HasPrefix(p, "packed") }),
		{Name: "shard", Run: func(g *graph.Graph) (*graph.Graph, error) {
			return passes.Pipeline{passes.KVCache(passes.Cache{Seqs: 1, Blocks: 2, PerSeq: 2, Size: 4, Elem: graph.F32}),
				passes.LowerBitLinear(func(p string) bool { return strings.HasPrefix(p, "packed") }), passes.CSE(),
				passes.Shard(collective.Attrs{Ranks: 2, Rank: 1}), passes.DCE()}.Run(g, nil)
		}},
		passes.CSE(), passes.Fold(), passes.DCE(), passes.MergeSiblings(),
		passes.InsertQuantize(), passes.DropQuantize(), passes.Inline(nil), passes.FoldTransposes(), passes.WarmQuantize(), passes.Dropout(passes.DropoutOptions{P: 0.25, Seed: 1, After: []string{"o_proj.weight"}, Attention: true}, nil), passes.Precision(), passes.IntegerForward(), passes.Grad(nil),
		passes.Fuse(bitlinear.Fused()...),
		passes.Ternarize(bitlinear.Default, func(_ *graph.Node, p string) bool { return strings.HasPrefix(p, "big") }),
		passes.WeighLoss(),
		{Name: "accumulate", Run: func(g *graph.Graph) (*graph.Graph, error) {
			return passes.Pipeline{passes.Grad(nil), passes.Accumulate(nil)}.Run(g, nil)
		}},
		{Name: "all-reduce", Run: func(g *graph.Graph) (*graph.Graph, error) {
			return passes.Pipeline{passes.Grad(nil), passes.AllReduce(passes.Spread{Ranks: collective.Attrs{Ranks: 2}}, nil)}.Run(g, nil)
		}},
		{Name: "buckets", Run: func(g *graph.Graph) (*graph.Graph, error) {
			s := passes.Spread{Ranks: collective.Attrs{Ranks: 2}, Bucket: 16}
			return passes.Pipeline{passes.Grad(nil), passes.AllReduce(s, nil)}.Run(g, nil)
		}},
		{Name: "zero1", Run: func(g *graph.Graph) (*graph.Graph, error) {
			s, o := passes.Spread{Ranks: collective.Attrs{Ranks: 2, Rank: 1}, Shard: true}, adam
			o.Shard = s
			return passes.Pipeline{passes.Grad(nil), passes.AllReduce(s, nil), passes.Optimizer(o)}.Run(g, nil)
		}},
		passes.LoRA(func(p string) passes.Adapter {
			if strings.HasPrefix(p, "big") {
				return passes.Adapter{Rank: 2, Scale: 0.5}
			}
			return passes.Adapter{}
		}),
		passes.Freeze(func(p string) passes.Frozen {
			return map[string]passes.Frozen{"float": passes.Float, "packed": passes.Dequantized}[p]
		}),
		{Name: "ema", Run: func(g *graph.Graph) (*graph.Graph, error) {
			o := adam
			o.EMA = 0.9
			return passes.Pipeline{passes.Grad(nil), passes.Optimizer(o)}.Run(g, nil)
		}},
		{Name: "optimizer", Run: func(g *graph.Graph) (*graph.Graph, error) {
			return passes.Pipeline{passes.Grad(nil), passes.Optimizer(adam)}.Run(g, nil)
		}},
	}
	m := map[string]passes.Pass{}
	for _, p := range all {
		m[p.Name] = p
	}
	return m
}

// section cuts "-- name --" parts out of an archive.
func sections(text string) (comment string, parts map[string]string) {
	parts = map[string]string{}
	name := ""
	for _, line := range strings.SplitAfter(text, "\n") {
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "-- ") && strings.HasSuffix(t, " --") {
			name = strings.TrimSpace(t[3 : len(t)-3])
			continue
		}
		if name == "" {
			comment += line
		} else {
			parts[name] += line
		}
	}
	return comment, parts
}

// TestGolden holds every pass to the text it printed before, checks that the
// printed text parses back to itself, and, where the pass keeps the meaning,
// that both graphs compute the same on random values.
func TestGolden(t *testing.T) {
	byName := underTest()
	files, _ := filepath.Glob("testdata/*/*.txtar")
	seen := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		seen[name] = true
		t.Run(name+"/"+filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			comment, parts := sections(string(data))
			before := parse(t, parts["before"])
			pass, ok := byName[name]
			if !ok {
				t.Fatalf("no pass %q under test", name)
			}
			after, err := passes.Pipeline{pass}.Run(before, nil)
			got := ""
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = after.String()
				if again := parse(t, got).String(); again != got {
					t.Errorf("print → parse → print differs:\n%s", cmp.Diff(got, again))
				}
				if parts["meaning"] != "" {
					sameMeaning(t, before, after, strings.TrimSpace(parts["meaning"]))
				}
			}
			if *update {
				out := comment + "-- before --\n" + before.String()
				if m := parts["meaning"]; m != "" {
					out += "-- meaning --\n" + m
				}
				out += "-- after --\n" + got
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(parts["after"], got); d != "" {
				t.Errorf("after %s (-want +got):\n%s", name, d)
			}
		})
	}
	for name := range byName {
		if !seen[name] {
			t.Errorf("pass %s has no golden file in testdata/%s", name, name)
		}
	}
}

func parse(t *testing.T, text string) *graph.Graph {
	t.Helper()
	g, err := graph.Parse(strings.NewReader(text), allOps())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// random fills a tensor: floats around 0, ids in a small range, codes ternary.
func random(r *rand.Rand, elem graph.DType, dims []int) graph.Tensor {
	t := graph.NewTensor(elem, dims...)
	switch elem {
	case graph.F32:
		for i := range t.F32() {
			t.F32()[i] = float32(r.NormFloat64())
		}
	case graph.I8:
		for i := range t.I8() {
			t.I8()[i] = int8(r.IntN(255) - 127)
		}
	case graph.Tern:
		for i := range t.I8() {
			t.I8()[i] = int8(r.IntN(3) - 1)
		}
	}
	return t
}

// sameMeaning evaluates both graphs on the same random sources and compares
// the outputs they share: bit for bit if how is "exact", else within 1e-5.
func sameMeaning(t *testing.T, before, after *graph.Graph, how string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []int{1, 3, 6} {
		syms := map[string]int{}
		for _, sym := range before.Syms {
			syms[sym.Name] = s
		}
		for _, sym := range after.Syms {
			syms[sym.Name] = s
		}
		env := graph.Env{Inputs: map[string]graph.Tensor{}, Params: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
		for _, g := range []*graph.Graph{before, after} {
			for _, n := range g.Nodes {
				dst := map[*graph.OpDef]map[string]graph.Tensor{graph.InputOp.OpDef: env.Inputs, graph.ParamOp.OpDef: env.Params, graph.StateOp.OpDef: env.States}[n.Op]
				name := graph.SourceName(n)
				if _, ok := dst[name]; ok || dst == nil {
					continue
				}
				dims, err := n.Out[0].Shape.Eval(syms)
				if err != nil {
					t.Fatal(err)
				}
				x := random(r, n.Out[0].Elem, dims)
				switch name {
				case "pos", "rows", "idx":
					for i := range x.I32() {
						x.I32()[i] = int32(i)
					}
				case "table":
					for i := range x.I32() {
						x.I32()[i] = int32(i % dims[1])
					}
				}
				dst[name] = x
			}
		}
		var outs [2][]graph.Tensor
		for i, g := range []*graph.Graph{before, after} {
			inputs := map[string]graph.Tensor{}
			for _, n := range g.Inputs() {
				inputs[graph.SourceName(n)] = env.Inputs[graph.SourceName(n)]
			}
			res, err := graph.Eval(g, graph.Env{Inputs: inputs, Params: env.Params, States: env.States})
			if err != nil {
				t.Fatal(err)
			}
			outs[i] = res.Outs
		}
		for i := range min(len(outs[0]), len(outs[1])) {
			if err := compare(outs[0][i], outs[1][i], how == "exact"); err != nil {
				t.Errorf("S=%d output %d: %v", s, i, err)
			}
		}
	}
}

func compare(a, b graph.Tensor, exact bool) error {
	if exact || !a.Elem.IsFloat() {
		if d := cmp.Diff(a.Data, b.Data); d != "" {
			return fmt.Errorf("bytes differ")
		}
		return nil
	}
	if a.Len() != b.Len() {
		return fmt.Errorf("%v and %v", a.Dims, b.Dims)
	}
	for i := range a.Len() {
		x, y := a.FloatAt(i), b.FloatAt(i)
		if diff := x - y; diff > 1e-5 || diff < -1e-5 || x != x != (y != y) {
			return fmt.Errorf("element %d is %v and %v", i, x, y)
		}
	}
	return nil
}
