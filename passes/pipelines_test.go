package passes_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/passes"
)

func pipelines() map[string]passes.Pipeline {
	cache := passes.Cache{Seqs: 2, Blocks: 4, PerSeq: 4, Size: 4, Elem: graph.F32}
	adam := passes.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1}
	return map[string]passes.Pipeline{
		"infer sharded":      passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 4, Shard: collective.Attrs{Ranks: 2}}),
		"infer":              passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 4, Screen: passes.Screen{Tops: 2, Least: 1}}),
		"train":              passes.Train(passes.TrainOptions{AdamW: adam, Fused: []*graph.OpDef{}}),
		"train warm":         passes.Train(passes.TrainOptions{AdamW: adam, Warm: true}),
		"train integer":      passes.Train(passes.TrainOptions{AdamW: adam, Integer: true}),
		"train plain":        passes.Train(passes.TrainOptions{AdamW: adam, Plain: true}),
		"train accumulating": passes.Train(passes.TrainOptions{AdamW: adam, Spread: passes.Spread{Accumulate: true}}),
		"train on ranks":     passes.Train(passes.TrainOptions{AdamW: adam, Spread: passes.Spread{Ranks: collective.Attrs{Ranks: 2}}}),
		"train sharded":      passes.Train(passes.TrainOptions{AdamW: adam, Spread: passes.Spread{Ranks: collective.Attrs{Ranks: 2, Rank: 1}, Shard: true}}),
		"train bf16":         passes.Train(passes.TrainOptions{AdamW: adam, BF16: true, Integer: true}),
		"train dropout":      passes.Train(passes.TrainOptions{AdamW: adam, BF16: true, Integer: true, Dropout: passes.DropoutOptions{P: 0.2, Seed: 3, After: []string{"_proj.weight"}, Attention: true}}),
		"train bf16 plain":   passes.Train(passes.TrainOptions{AdamW: adam, BF16: true, Plain: true, Spread: passes.Spread{Accumulate: true}}),
		"train bf16 warm":    passes.Train(passes.TrainOptions{AdamW: adam, BF16: true, Warm: true}),
		"train fused":        passes.Train(passes.TrainOptions{AdamW: adam, BF16: true, Fused: append(bitlinear.FusedTraining(), ops.AdamWCastOp.OpDef)}),
		"eval":               passes.Eval(false),
	}
}

// TestOrder holds the literal pipelines to the constraints written beside them.
func TestOrder(t *testing.T) {
	used := make([]bool, len(passes.Order))
	for name, p := range pipelines() {
		names := p.Names()
		for i, c := range passes.Order {
			b, a := slices.Index(names, c.Before), slices.Index(names, c.After)
			if b < 0 || a < 0 {
				continue
			}
			used[i] = true
			if b > a {
				t.Errorf("%s: %s stands after %s, but %s", name, c.Before, c.After, c.Why)
			}
		}
	}
	for i, c := range passes.Order {
		if !used[i] && c.After != "fuse" {
			t.Errorf("no pipeline has both %s and %s", c.Before, c.After)
		}
	}
}

// declared is a small model; with a loss for the train pipelines.
func declared(t *testing.T, loss bool) *graph.Graph {
	t.Helper()
	cfg, err := bitnet158.Preset("nano")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Layers, cfg.Vocab, cfg.Hidden, cfg.FFN, cfg.Heads, cfg.KVHeads, cfg.HeadDim = 2, 20, 16, 24, 2, 1, 8
	b := graph.NewBuilder("tiny")
	tok := layer.Inputs(b, 8)
	out := bitnet158.Declare(b, cfg, tok)
	if loss {
		out = ops.CrossEntropy(out, b.Input("targets", graph.I32, tok.IDs.Dim(0)))
	}
	g, err := b.Finish(out)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestEveryPassPrintsAndParses runs each pipeline over a model and checks the
// textual form after every pass.
func TestEveryPassPrintsAndParses(t *testing.T) {
	for name, p := range pipelines() {
		phase := graph.Training
		if name == "infer" {
			phase = graph.Inferring
		}
		g, err := p.Run(declared(t, name != "infer"), func(pass string, g *graph.Graph) {
			text := g.String()
			back, err := graph.Parse(strings.NewReader(text), allOps())
			if err != nil {
				t.Fatalf("%s after %s: %v\n%s", name, pass, err, text)
			}
			if back.String() != text {
				t.Errorf("%s after %s: the text parses to another graph", name, pass)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := graph.Verify(g, phase); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shuffled returns g with independent nodes in another order.
func shuffled(t *testing.T, g *graph.Graph, seed uint64) *graph.Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	order := slices.Clone(g.Nodes)
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var sorted []*graph.Node
	placed := map[*graph.Node]bool{}
	for len(sorted) < len(order) {
		for _, n := range order {
			ready := !placed[n]
			for _, v := range n.In {
				ready = ready && placed[v.Node()]
			}
			if ready {
				placed[n] = true
				sorted = append(sorted, n)
			}
		}
	}
	s := *g
	s.Nodes = sorted
	if err := graph.Verify(&s, graph.AnyPhase); err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestPassesIgnoreAccidentalOrder checks that the pipelines find the same ops
// whatever the order of independent nodes.
func TestPassesIgnoreAccidentalOrder(t *testing.T) {
	count := func(g *graph.Graph) map[string]int {
		m := map[string]int{}
		for _, n := range g.Nodes {
			m[n.Op.Name]++
		}
		return m
	}
	for name, p := range pipelines() {
		base := declared(t, name != "infer")
		want, err := p.Run(base, nil)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(3) {
			got, err := p.Run(shuffled(t, base, seed), nil)
			if err != nil {
				t.Fatal(err)
			}
			for op, n := range count(want) {
				if count(got)[op] != n {
					t.Errorf("%s, seed %d: %d × %s, in declared order %d", name, seed, count(got)[op], op, n)
				}
			}
		}
	}
}

func TestInsert(t *testing.T) {
	p := pipelines()["infer"]
	q, err := p.Insert("cse", passes.DCE())
	if err != nil || len(q) != len(p)+1 || q[slices.Index(q.Names(), "cse")+1].Name != "dce" {
		t.Errorf("%v, %v", q.Names(), err)
	}
	if _, err := p.Insert("nonsense", passes.DCE()); err == nil {
		t.Error("inserted after a pass that is not there")
	}
}

// TestPrecisionReachesEveryProduct: in bf16 no matrix product of a training step
// has f32 operands, and no BitLinear writes f32 values that are then cast.
func TestPrecisionReachesEveryProduct(t *testing.T) {
	g, err := pipelines()["train bf16"].Run(declared(t, true), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, node := range g.Nodes {
		n[node.Op.Name]++
		for _, v := range node.In {
			if node.Op == ops.MatMulOp.OpDef && v.Type().Elem != graph.BF16 {
				t.Errorf("%s reads %s", node.Where(), v.Type())
			}
		}
		for _, out := range node.Out {
			wide := out.Elem == graph.F32 && len(out.Shape) == 2 && out.Shape[0].Sym != "" && out.Shape[1] != graph.C(1)
			switch node.Op {
			case ops.AttentionOp.OpDef, ops.CastOp.OpDef: // the log-sum-exp; the embedding's gradient
			default:
				if wide {
					t.Errorf("%s gives %s", node.Where(), out)
				}
			}
		}
	}
	const projections = 2 * 7
	if got := n["fused.bitlinear_cast"] + n["fused.bitlinear_cast_add"]; got != projections || n["rescale"] != 0 || n["fused.embedding_cast"] != 1 {
		t.Errorf("%d BitLinears of %d write bf16; ops %v", got, projections, n)
	}
}

// TestLastLayerIsWhole: where attention is fused with the append before it, that of the
// last layer is too, and rows are picked behind it.
func TestLastLayerIsWhole(t *testing.T) {
	claims := func(*graph.OpDef) bool { return true }
	p := passes.Infer(passes.InferOptions{Cache: passes.Cache{Seqs: 2, Blocks: 4, PerSeq: 4, Size: 4, Elem: graph.F32}, MaxRows: 4, Fused: passes.FusedFor(claims)})
	g, err := p.Run(declared(t, false), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, node := range g.Nodes {
		n[node.Op.Name]++
	}
	for op, want := range map[*graph.OpDef]int{bitlinear.RoPEAttendOp.OpDef: 2, bitlinear.NormLinear3Op.OpDef: 2, bitlinear.NormLinearAddOp.OpDef: 4,
		ops.RowsOp.OpDef: 2, ops.CachedAttentionOp.OpDef: 0, ops.KVAppendOp.OpDef: 0} {
		if n[op.Name] != want {
			t.Errorf("%d × %s, want %d", n[op.Name], op.Name, want)
		}
	}
}
