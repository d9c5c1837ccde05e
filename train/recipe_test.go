package train_test

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// newEngine compiles a small model; it returns weights to start from and a batch.
func newEngine(t *testing.T, dev devices.Device, change func(*train.Recipe)) (*train.Engine, map[string]graph.Tensor, *data.Batch) {
	t.Helper()
	m := tiny("", "", dev).Model
	m.Vocab = 20
	r := train.Default().Recipe
	if change != nil {
		change(&r)
	}
	const rows, window = 2, 12
	loss, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, m, tok) }, rows*window)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.NewEngine(loss, r, dev, rows*window)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	init := train.Default().Init
	w, err := init.Weights(loss, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := data.NewBatch(rows, window)
	for i := range b.Tokens {
		b.Tokens[i], b.Targets[i] = int32(i*7%20), int32((i*7+7)%20)
		b.Seq[i], b.Pos[i] = int32(i/window), int32(i%window)
	}
	b.Counted = len(b.Tokens)
	return e, w, b
}

// steps trains that model on that batch and returns the results and the state at
// the end.
func steps(t *testing.T, dev devices.Device, n int, change func(*train.Recipe)) ([]train.Result, train.State) {
	t.Helper()
	e, w, b := newEngine(t, dev, change)
	if err := e.SetState(t.Context(), train.State{Weights: w}); err != nil {
		t.Fatal(err)
	}
	var results []train.Result
	for range n {
		res, err := e.Step(t.Context(), b, 1e-2, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, res)
	}
	s, err := e.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return results, s
}

// TestQuantizationWarmup: at λ = 0 a step is that of the unquantized model, from
// λ = 1 on that of the quantized one, bit for bit, and in between neither.
func TestQuantizationWarmup(t *testing.T) {
	for _, dev := range testDevices(t) {
		warm := func(n int) func(*train.Recipe) {
			return func(r *train.Recipe) {
				r.Quantization.Warmup, r.Quantization.WarmupSteps = train.WarmupLinear, n
			}
		}
		plain, _ := steps(t, dev, 3, func(r *train.Recipe) { r.Plain = true })
		whole, _ := steps(t, dev, 3, nil)
		slow, _ := steps(t, dev, 3, warm(1<<29))
		half, _ := steps(t, dev, 3, warm(2))
		if slow[0] != plain[0] || half[0] != plain[0] {
			t.Errorf("%s: first steps %v and %v, unquantized %v", dev.Name(), slow[0], half[0], plain[0])
		}
		if half[1] == plain[1] || half[1] == whole[1] {
			t.Errorf("%s: at λ = 1/2 %v, at 0 %v, at 1 %v", dev.Name(), half[1], plain[1], whole[1])
		}
		// λ of 2⁻²⁹ hardly shows.
		if d := math.Abs(slow[2].Loss - plain[2].Loss); d > 1e-4 {
			t.Errorf("%s: losses %v and %v", dev.Name(), slow[2], plain[2])
		}
	}
}

// TestLambda checks the schedules at their ends, in the middle and for growth.
func TestLambda(t *testing.T) {
	for kind, mid := range map[string]float64{
		train.WarmupNone: 1, train.WarmupLinear: 0.5, train.WarmupExponential: 1 - math.Pow(0.5, 4), train.WarmupSigmoid: 0.5,
	} {
		q := train.Quantization{Warmup: kind, WarmupSteps: 100}
		if got := q.Lambda(50); math.Abs(got-mid) > 1e-12 {
			t.Errorf("%s: %v in the middle, want %v", kind, got, mid)
		}
		if got := q.Lambda(0); kind != train.WarmupNone && got > 1e-4 {
			t.Errorf("%s begins at %v", kind, got)
		}
		if got := q.Lambda(100); got != 1 {
			t.Errorf("%s ends at %v", kind, got)
		}
		for i := range 100 {
			if q.Lambda(i) > q.Lambda(i+1) {
				t.Errorf("%s falls at %d", kind, i)
			}
		}
	}
	steep := train.Quantization{Warmup: train.WarmupExponential, WarmupSteps: 4, WarmupK: 2}
	if got := steep.Lambda(1); got != 1-0.75*0.75 {
		t.Errorf("k = 2: %v", got)
	}
}

// TestEMA compares the average with one computed from the weights of each step.
func TestEMA(t *testing.T) {
	const keep = 0.75
	for _, dev := range testDevices(t) {
		ema := func(r *train.Recipe) { r.Optimizer.EMA = keep }
		var want map[string]graph.Tensor
		for n := range 4 {
			_, raw := steps(t, dev, n, nil)
			if want == nil {
				want = raw.Weights
				continue
			}
			for name, w := range raw.Weights {
				a := want[name].Clone().F32()
				ops.EMAAttrs{Decay: keep}.Update(a, w.F32())
				want[name] = graph.FromF32(a, w.Dims...)
			}
			_, got := steps(t, dev, n, ema)
			for name, w := range raw.Weights {
				if d := cmp.Diff(want[name].F32(), got.Weights[name].F32()); d != "" {
					t.Fatalf("%s: step %d: average of %s:\n%s", dev.Name(), n, name, d)
				}
				if d := cmp.Diff(w.F32(), got.Moments[train.Master+name].F32()); d != "" {
					t.Fatalf("%s: step %d: the params follow another path with an average:\n%s", dev.Name(), n, d)
				}
			}
		}
	}
}

// TestEMARun: what is validated, saved and exported is the average, a resumed run
// goes on exactly, and averaging can end and begin.
func TestEMARun(t *testing.T) {
	dev := fast(t, 1)
	whole := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	whole.Optimizer.EMA = 0.5
	whole.SaveInline = true
	tr, err := train.New(whole)
	want := newCurve()
	follow(t, tr, err, want, 0)

	half := whole
	half.Dir = filepath.Join(t.TempDir(), "run")
	tr, err = train.New(half)
	got := newCurve()
	follow(t, tr, err, got, 6)
	tr, err = train.Resume(half.Dir, func(c *train.Config) { c.Device = dev })
	follow(t, tr, err, got, 0)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	score, err := train.Evaluate(t.Context(), half.Dir, train.EvaluateOptions{Device: dev, Windows: half.ValidateWindows})
	if err != nil || score.Loss() != want.Valid[12].Loss {
		t.Errorf("the saved model scores %v, %v, in training %v", score.Loss(), err, want.Valid[12].Loss)
	}
	read := func(file, name string) []float32 {
		f, err := safetensors.Open(filepath.Join(half.Dir, "checkpoints", "step-00000012", file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x.Clone().F32()
	}
	const name = "model.layers.1.mlp.up_proj.weight"
	if cmp.Equal(read("model/model.safetensors", name), read("optimizer.safetensors", train.Master+name)) {
		t.Error("the average is the params themselves")
	}
	for _, ema := range []float64{0, 0.25} {
		tr, err = train.Resume(half.Dir, func(c *train.Config) { c.Device, c.Steps, c.Optimizer.EMA = dev, c.Steps+2, ema })
		follow(t, tr, err, newCurve(), 0)
	}
}

// TestDecayExclusion: only what is excluded keeps its norm where gradients do not
// reach it, and a name that nothing has is an error.
func TestDecayExclusion(t *testing.T) {
	dev := fast(t, 1)
	const out = "model.layers.0.self_attn.o_proj.weight"
	_, all := steps(t, dev, 2, nil)
	_, but := steps(t, dev, 2, func(r *train.Recipe) { r.Optimizer.NoDecay = []string{"embed_tokens.weight"} })
	if cmp.Equal(all.Weights["model.embed_tokens.weight"].F32(), but.Weights["model.embed_tokens.weight"].F32()) {
		t.Error("the exclusion changes nothing")
	}
	_, first := steps(t, dev, 1, nil)
	_, other := steps(t, dev, 1, func(r *train.Recipe) { r.Optimizer.NoDecay = []string{"embed_tokens.weight"} })
	if !cmp.Equal(first.Weights[out].F32(), other.Weights[out].F32()) {
		t.Error("the exclusion changes another param")
	}
	g, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value {
		return bitnet158.Declare(b, tiny("", "", dev).Model, tok)
	}, 4)
	if err != nil {
		t.Fatal(err)
	}
	r := train.Default().Recipe
	r.Optimizer.NoDecay = []string{"nothing.weight"}
	if _, err := train.StepGraph(g, r, nil); err == nil || !strings.Contains(err.Error(), "nothing.weight") {
		t.Errorf("no_decay of nothing: %v", err)
	}
}

// TestOwnQuantizers trains with 4-bit activations, group scales and norms inside
// the projections. The run folder opens as a model whose inference form gives the
// training form's logits, a resumed run keeps all three, and an export that cannot
// hold them says what can.
func TestOwnQuantizers(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.Quantization.ActBits, c.Quantization.Group, c.Quantization.Norm = 4, 16, true
	tr, err := train.New(c)
	follow(t, tr, err, newCurve(), 6)
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	follow(t, tr, err, newCurve(), 0)
	if _, err := train.Resume(c.Dir, func(r *train.Config) { r.Device, r.Quantization.Group = dev, 8 }); err == nil || !strings.Contains(err.Error(), "group 16") {
		t.Errorf("other groups: %v", err)
	}
	m, err := engine.Open(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if cfg := m.Config; cfg.ActBits != 4 || cfg.Group != 16 || !cfg.ProjNorm {
		t.Fatalf("the folder holds %+v", cfg)
	}
	ids := []int32{102, 117, 110, 99, 32, 102, 49, 40}
	got, _, err := m.Logits(t.Context(), dev, ids, false)
	if err != nil {
		t.Fatal(err)
	}
	g, err := bitnet158.Forward(m.Config, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = passes.Eval(false).Run(g, nil); err != nil {
		t.Fatal(err)
	}
	params := map[string]graph.Tensor{}
	for _, p := range g.Params() {
		if params[graph.SourceName(p)], err = m.Weights.Tensor(t.Context(), graph.SourceName(p)); err != nil {
			t.Fatal(err)
		}
	}
	seq, pos := make([]int32, len(ids)), make([]int32, len(ids))
	for i := range pos {
		pos[i] = int32(i)
	}
	of := func(v []int32) graph.Tensor { return graph.FromI32(v, len(v)) }
	res, err := graph.Eval(g, graph.Env{Inputs: map[string]graph.Tensor{"tokens": of(ids), "seq": of(seq), "pos": of(pos)}, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	if d := relative(t, got, res.Outs[0]); d > 1e-4 {
		t.Errorf("logits of the inference form differ by %.3g", d)
	}
	err = train.Export(t.Context(), c.Dir, filepath.Join(t.TempDir(), "x"), train.ExportOptions{})
	if err == nil || !strings.Contains(err.Error(), "masters") {
		t.Errorf("export: %v", err)
	}
	// From another checkpoint, the norms begin as ones.
	c.Quantization.Norm, c.Dir = false, filepath.Join(t.TempDir(), "plainer")
	tr, err = train.New(c)
	follow(t, tr, err, newCurve(), 0)
	from := c.Dir
	c.From, c.Dir, c.Quantization = from, filepath.Join(t.TempDir(), "next"), train.Quantization{Norm: true, Group: 8}
	tr, err = train.New(c)
	follow(t, tr, err, newCurve(), 0)
	next, err := checkpoint.Open(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if cfg := next.Config(); cfg.ActBits != 4 || cfg.Group != 8 || !cfg.ProjNorm {
		t.Errorf("from the other checkpoint: %+v", cfg)
	}
}

// TestSettingsRefused: a setting outside its limits is named, and the way out
// with it where there is one.
func TestSettingsRefused(t *testing.T) {
	base := tiny(filepath.Join(t.TempDir(), "run"), texts(t), twins(t, 1)) // without bf16, in every build
	for want, change := range map[string]func(*train.Config){
		"set precision to f32":        func(c *train.Config) { c.Precision = train.BF16 },
		`precision "f8"`:              func(c *train.Config) { c.Precision = "f8" },
		"act_bits is 3":               func(c *train.Config) { c.Quantization.ActBits = 3 },
		"group is -1":                 func(c *train.Config) { c.Quantization.Group = -1 },
		"plain and norm":              func(c *train.Config) { c.Quantization.Norm, c.Plain = true, true },
		"plain or the warmup":         func(c *train.Config) { c.Quantization.Warmup, c.Plain = train.WarmupLinear, true },
		`quantization warmup "quick"`: func(c *train.Config) { c.Quantization.Warmup = "quick" },
		"warmup takes 0 steps":        func(c *train.Config) { c.Quantization.Warmup, c.Quantization.WarmupSteps = train.WarmupSigmoid, 0 },
		"warmup k is NaN":             func(c *train.Config) { c.Quantization.Warmup, c.Quantization.WarmupK = train.WarmupSigmoid, math.NaN() },
		"ema is 1":                    func(c *train.Config) { c.Optimizer.EMA = 1 },
		"explode is 0.5":              func(c *train.Config) { c.Explode = 0.5 },
		"Declare declares":            func(c *train.Config) { c.Declare, c.Quantization.ActBits = declared, 4 },
		"no preset":                   func(c *train.Config) { c.Model, c.Shape.Preset = checkpoint.Config{}, "huge" },
		"schedule peak is -1":         func(c *train.Config) { c.Optimizer.Schedule.Peak = -1 },
	} {
		c := base
		change(&c)
		if _, err := train.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	c := base
	c.Quantization.Group = 24
	tr, err := train.New(c)
	if err == nil {
		err = tr.Run(t.Context(), nil)
	}
	if err == nil || !strings.Contains(err.Error(), "groups of 24") {
		t.Errorf("groups that do not fit: %v", err)
	}
}

// declared is an architecture that Config.Declare may be.
func declared(b *graph.Builder, tok layer.Tokens) graph.Value {
	return bitnet158.Declare(b, checkpoint.Config{}, tok)
}

// TestForward: products of codes and fake quantization train alike, each with the
// same bits every time.
func TestForward(t *testing.T) {
	dev := fast(t, 2)
	losses := map[string][]float64{}
	for _, forward := range []string{train.ForwardInteger, train.ForwardInteger, train.ForwardFloat} {
		e, w, b := newEngine(t, dev, func(r *train.Recipe) { r.Quantization.Forward = forward })
		if err := e.SetState(t.Context(), train.State{Weights: w}); err != nil {
			t.Fatal(err)
		}
		var got []float64
		for range 10 {
			res, err := e.Step(t.Context(), b, 1e-3, 0.1)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, res.Loss)
		}
		if old := losses[forward]; old != nil && !slices.Equal(old, got) {
			t.Errorf("%s: losses %v, then %v", forward, old, got)
		}
		losses[forward] = got
	}
	a, b := losses[train.ForwardInteger], losses[train.ForwardFloat]
	if slices.Equal(a, b) {
		t.Error("both forward passes have the same bits; is the device given no products of codes?")
	}
	// A code that lies on a tie may fall to the other side and spread.
	if d := math.Abs(a[0] - b[0]); d > 1e-4*b[0] {
		t.Errorf("first losses %v of codes, %v of floats", a[0], b[0])
	}
	if d := math.Abs(a[9] - b[9]); d > 0.01*b[9] {
		t.Errorf("after 10 steps %v of codes, %v of floats", a[9], b[9])
	}
}
