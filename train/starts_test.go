package train_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// TestConvert trains a ternary model from a Llama folder: it starts far below
// chance if the norms are set by what passes through them, the loss falls, and
// what is written opens as a ternary model everywhere.
func TestConvert(t *testing.T) {
	dev := fast(t, 2)
	for _, v := range []struct {
		name string
		kv   int
		tied bool
		set  func(*train.Config)
		want checkpoint.Config
	}{
		{"subln", 1, true, func(*train.Config) {}, checkpoint.Config{ModelType: "bitnet", SubNorm: true, Act: checkpoint.SiLU, Tied: true}},
		{"relu2, untied", 2, false, func(c *train.Config) { c.Convert.Act = checkpoint.ReLU2 }, checkpoint.Config{ModelType: "bitnet", SubNorm: true, Act: checkpoint.ReLU2}},
		{"no norms, warm", 2, true, func(c *train.Config) {
			c.Convert.NoSubNorm = true
			c.Quantization.Warmup, c.Quantization.WarmupSteps = train.WarmupLinear, 20
		}, checkpoint.Config{ModelType: "llama", Act: checkpoint.SiLU, Tied: true}},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := from(t, llamaFolder(t, v.kv, v.tied), dev)
			c.Steps = 40
			v.set(&c)
			got := run(t, c)
			if first, last := got.Loss[1], got.Loss[c.Steps]; !(last < first-1) {
				t.Errorf("loss %v to %v", first, last)
			}
			m, err := checkpoint.Open(c.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			cfg := m.Config()
			if cfg.Float || cfg.ModelType != v.want.ModelType || cfg.SubNorm != v.want.SubNorm || cfg.Act != v.want.Act || cfg.Tied != v.want.Tied || cfg.NormEps != 1e-6 {
				t.Errorf("%+v", cfg)
			}
		})
	}
}

// TestConvertedNorms: before the first step the inserted norms have one weight
// per layer, the size of what passes through them; the unquantized graph then
// computes nearly what the Llama computed.
func TestConvertedNorms(t *testing.T) {
	c := from(t, llamaFolder(t, 1, true), fast(t, 2))
	c.Steps = 1
	plain := c
	plain.Plain, plain.Dir = true, filepath.Join(t.TempDir(), "plain")
	run(t, c)
	w := tensors(t, filepath.Join(c.Dir, "checkpoints", "step-00000000", "model"))
	for _, name := range []string{"model.layers.0.self_attn.attn_sub_norm.weight", "model.layers.1.mlp.ffn_sub_norm.weight"} {
		g := w[name]
		if len(g) == 0 || g[0] <= 0 || g[0] == 1 || g[0] != g[len(g)-1] {
			t.Errorf("%s starts at %v", name, g[:min(2, len(g))])
		}
	}
	// The twin without quantization keeps the architecture and is full precision.
	if got := run(t, plain); got.Loss[1] == 0 {
		t.Error("no loss")
	}
	if _, err := checkpoint.Open(plain.Dir); err == nil || !strings.Contains(err.Error(), "no ternary weights") {
		t.Errorf("the twin opens as ternary: %v", err)
	}
	tr, err := train.Resume(plain.Dir, func(c *train.Config) { c.Device, c.Steps = fast(t, 2), 2 })
	follow(t, tr, err, newCurve(), 0)
}

// TestSupervised fine-tunes on conversations: the loss falls, and a run that is
// stopped and resumed has the same bits.
func TestSupervised(t *testing.T) {
	dev := fast(t, 1)
	base, _ := ternaryBase(t, dev)
	c := tuning(t, base, chats(t, 60), dev)
	c.Steps = 12
	whole, parts := run(t, c), newCurve()
	if !(whole.Loss[12] < whole.Loss[1]-0.5) {
		t.Errorf("loss %v to %v", whole.Loss[1], whole.Loss[12])
	}
	again := c
	again.Dir = filepath.Join(t.TempDir(), "again")
	tr, err := train.New(again)
	follow(t, tr, err, parts, 3)
	for _, until := range []int{7, 0} {
		tr, err := train.Resume(again.Dir, func(c *train.Config) { c.Device = dev })
		follow(t, tr, err, parts, until)
	}
	if d := cmp.Diff(whole.Loss, parts.Loss); d != "" {
		t.Errorf("the interrupted run differs: %s", d)
	}
	score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Windows: c.ValidateWindows})
	if err != nil || score.Loss() != whole.Valid[12].Loss {
		t.Errorf("evaluated %v, want %v: %v", score.Loss(), whole.Valid[12].Loss, err)
	}
}

// TestPackedConversations: the loss of conversations that share a row is, bit for
// bit, that of each alone, summed.
func TestPackedConversations(t *testing.T) {
	for _, dev := range testDevices(t) {
		t.Run(dev.Name(), func(t *testing.T) { testPacked(t, dev) })
	}
}

// TestLoRA trains adapters beside frozen ternary weights, from masters and from
// codes alike; only adapters are saved; PEFT's names; resuming is exact; the
// loss is that of the model that runs with the adapter.
func TestLoRA(t *testing.T) {
	dev := fast(t, 1)
	masters, packed := ternaryBase(t, dev)
	talks := chats(t, 60)
	var curves []curve
	var c train.Config
	for _, base := range []string{masters, packed} {
		c = tuning(t, base, talks, dev)
		c.LoRA = train.LoRA{Rank: 4, Targets: []string{"q_proj", "v_proj", "mlp.down_proj"}}
		c.Optimizer.Schedule.Peak = 2e-2
		curves = append(curves, run(t, c))
	}
	if d := cmp.Diff(curves[0].Loss, curves[1].Loss); d != "" {
		t.Errorf("beside masters and beside their codes losses differ: %s", d)
	}
	if !(curves[1].Loss[30] < curves[1].Loss[1]-0.3) {
		t.Errorf("loss %v to %v", curves[1].Loss[1], curves[1].Loss[30])
	}
	a, err := adapter.Open(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.Rank != 4 || a.Alpha != 8 || a.Base != packed || len(a.Tensors) != 2*2*3 {
		t.Errorf("%+v with %d tensors", a.Config, len(a.Tensors))
	}
	f, err := safetensors.Open(filepath.Join(c.Dir, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensor("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"); err != nil {
		t.Error(err)
	}
	f.Close()
	if _, err := os.Stat(filepath.Join(c.Dir, "model.safetensors")); err == nil {
		t.Error("the run folder has a copy of the model")
	}
	parts := newCurve()
	again := c
	again.Dir = filepath.Join(t.TempDir(), "again")
	tr, err := train.New(again)
	follow(t, tr, err, parts, 11)
	tr, err = train.Resume(again.Dir, func(c *train.Config) { c.Device = dev })
	follow(t, tr, err, parts, 0)
	if d := cmp.Diff(curves[1].Loss, parts.Loss); d != "" {
		t.Errorf("the interrupted run differs: %s", d)
	}
	score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Windows: c.ValidateWindows})
	if err != nil || score.Loss() != curves[1].Valid[30].Loss {
		t.Errorf("evaluated %v, want %v: %v", score.Loss(), curves[1].Valid[30].Loss, err)
	}
	// Beside another checkpoint the run does not go on.
	tr, err = train.Resume(again.Dir, func(c *train.Config) { c.Device, c.Steps, c.From = dev, 31, masters })
	if err == nil {
		err = tr.Run(t.Context(), nil)
	}
	if err == nil || !strings.Contains(err.Error(), "not the checkpoint that the adapters") {
		t.Errorf("got %v", err)
	}
}

// TestDistill learns from a full-precision teacher; what is lowered is the weighed
// sum, and the student comes nearer to it.
func TestDistill(t *testing.T) {
	dev := fast(t, 1)
	teacher := llamaFolder(t, 2, false)
	c := from(t, teacher, dev)
	c.Distill = train.Distill{Teacher: teacher, Temperature: 2, CrossEntropy: 0, Logits: 1, Relations: 0.5, Layer: -1}
	c.Steps = 30
	objective := map[int]float64{}
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Stepped {
			objective[e.Step] = e.Objective
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !(objective[30] < 0.7*objective[1]) || objective[30] <= 0 {
		t.Errorf("divergence %v to %v", objective[1], objective[30])
	}
	// The teacher is neither trained nor saved.
	if w := tensors(t, c.Dir); len(w) != 2+1+2*11 {
		t.Errorf("%d tensors saved", len(w))
	}
}

func TestStartRefusals(t *testing.T) {
	dev := fast(t, 1)
	llama := llamaFolder(t, 1, true)
	_, packed := ternaryBase(t, dev)
	for want, change := range map[string]func(*train.Config){
		"holds ternary codes":      func(c *train.Config) { c.From = packed },
		"no ternary weights":       func(c *train.Config) { c.LoRA.Rank = 2 },
		"set from (--init)":        func(c *train.Config) { c.From, c.LoRA.Rank = "", 2 },
		`no projection "qq_proj"`:  func(c *train.Config) { c.From, c.LoRA = packed, train.LoRA{Rank: 2, Targets: []string{"qq_proj"}} },
		"but no rank":              func(c *train.Config) { c.LoRA.Alpha = 2 },
		"convert act is":           func(c *train.Config) { c.Convert.Act = "gelu" },
		"BitNet already":           func(c *train.Config) { c.From, c.Convert.NoSubNorm = mastersOf(t, dev), true },
		"do not teach a tokenizer": func(c *train.Config) { c.From, c.Tokenizer.Kind, c.Data.Format = "", train.BPE, data.Chat },
		"data format \"jsonl\"":    func(c *train.Config) { c.Data.Format = "jsonl" },
		"temperature is 0":         func(c *train.Config) { c.Distill = train.Distill{Teacher: llama, Logits: 1} },
		"neither cross_entropy":    func(c *train.Config) { c.Distill = train.Distill{Teacher: llama, Temperature: 1, Relations: 1} },
		"none is layer 7": func(c *train.Config) {
			c.Distill = train.Distill{Teacher: llama, Temperature: 1, Logits: 1, Relations: 1, Layer: 7}
		},
		"they need the same tokenizer": func(c *train.Config) {
			c.From, c.Distill = "", train.Distill{Teacher: llama, Temperature: 1, Logits: 1}
			c.Model = tiny("", "", dev).Model
		},
	} {
		c := from(t, llama, dev)
		c.Steps = 1
		change(&c)
		tr, err := train.New(c)
		if err == nil {
			err = tr.Run(t.Context(), nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// testPacked compares per-sample losses of a batch whose row several
// conversations share with those of batches that hold one each.
func testPacked(t *testing.T, dev devices.Device) {
	const window = 96
	cfg := tiny("", "", dev).Model
	cfg.Vocab = 258
	m := cfg
	loss, err := train.Loss(declareModel(m), window)
	if err != nil {
		t.Fatal(err)
	}
	init := train.Default().Init
	init.Std = 0.2
	weights, err := init.Weights(loss, 3)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.NewEvaluator(loss, train.Recipe{}, dev, window)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := rand.New(rand.NewPCG(1, 9))
	packed := data.NewBatch(1, window)
	for i := range window {
		packed.Targets[i], packed.Seq[i], packed.Tokens[i] = data.IgnoreTarget, int32(i), 257
	}
	at := 0
	for _, n := range []int{30, 9, 41} {
		alone := data.NewBatch(1, window)
		for i := range window {
			alone.Targets[i], alone.Seq[i], alone.Tokens[i] = data.IgnoreTarget, int32(i), 257
		}
		// One target each, so that a mean is the position's own loss.
		id, target := make([]int32, n), r.Int32N(256)
		for i := range n {
			id[i] = r.Int32N(256)
			alone.Tokens[i], alone.Seq[i], alone.Pos[i] = id[i], 0, int32(i)
			packed.Tokens[at+i], packed.Seq[at+i], packed.Pos[at+i] = id[i], int32(at), int32(i)
		}
		alone.Targets[n-1], alone.Counted = target, 1
		want := score(t, e, weights, alone)
		defer func(place int) {
			packed.Targets[place], packed.Counted = target, 1
			if got := score(t, e, weights, packed); got != want {
				t.Errorf("the sample of %d tokens: loss %v in a shared row, %v alone", n, got, want)
			}
			packed.Targets[place] = data.IgnoreTarget
		}(at + n - 1)
		at += n
	}
}

// one is a batch as a validation set.
type one struct{ b *data.Batch }

func (o one) Batches(int) int { return 1 }
func (o one) Fill(_ int, b *data.Batch) {
	copy(b.Tokens, o.b.Tokens)
	copy(b.Seq, o.b.Seq)
	copy(b.Pos, o.b.Pos)
	copy(b.Targets, o.b.Targets)
	b.Counted, b.Bytes = o.b.Counted, o.b.Bytes
}

func score(t *testing.T, e *train.Evaluator, w map[string]graph.Tensor, b *data.Batch) float64 {
	t.Helper()
	s, err := e.Score(t.Context(), runtime.Tensors(w), one{b}, data.NewBatch(b.Rows, b.Window), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Nats
}

// TestSpreadStarts: adapters and a teacher give the same step cut into
// micro-batches, and on two ranks the same bits as in two micro-batches.
func TestSpreadStarts(t *testing.T) {
	base, _ := ternaryBase(t, fast(t, 1))
	train2 := func(n int, accumulate int, shard bool) (curve, map[string][]float32) {
		c := from(t, base, nil)
		c.LoRA = train.LoRA{Rank: 2}
		c.Distill = train.Distill{Teacher: base, Temperature: 1, CrossEntropy: 1, Logits: 1, Layer: -1}
		c.Steps, c.JoinDocuments, c.Optimizer.Clip = 3, true, 0
		c.Scale.Accumulate, c.Scale.Shard = accumulate, shard
		got := newCurve()
		runRanks(t, n, 0, got, func(change func(*train.Config)) (*train.Trainer, error) {
			c := c
			change(&c)
			return train.New(c)
		})
		return got, adapters(t, c.Dir)
	}
	whole, _ := train2(1, 1, false)
	parts, want := train2(1, 2, false)
	for step, loss := range whole.Loss {
		if d := loss - parts.Loss[step]; d > 1e-4 || d < -1e-4 {
			t.Errorf("step %d: loss %v, in micro-batches %v", step, loss, parts.Loss[step])
		}
	}
	for _, shard := range []bool{false, true} {
		ranks, got := train2(2, 0, shard)
		if d := cmp.Diff(parts.Loss, ranks.Loss); d != "" || len(ranks.Loss) != 3 {
			t.Errorf("on ranks, sharded %v: other losses: %s", shard, d)
		}
		if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
			t.Errorf("on ranks, sharded %v: other adapters: %.300s", shard, d)
		}
	}
}
