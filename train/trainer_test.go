package train_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/train"
)

// TestRunsAreEqual: two runs with one seed, and a third that is stopped and
// resumed at several places, give the same bits.
func TestRunsAreEqual(t *testing.T) {
	data := texts(t)
	for _, dev := range testDevices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			whole, again, parts := newCurve(), newCurve(), newCurve()
			dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")}
			for i, c := range []curve{whole, again} {
				tr, err := train.New(tiny(dirs[i], data, dev))
				follow(t, tr, err, c, 0)
			}
			if d := cmp.Diff(whole, again); d != "" {
				t.Fatalf("two equal runs differ: %s", d)
			}
			tr, err := train.New(tiny(dirs[2], data, dev))
			follow(t, tr, err, parts, 3)
			for _, until := range []int{5, 6, 11, 0} {
				tr, err := train.Resume(dirs[2], func(c *train.Config) { c.Device = dev })
				follow(t, tr, err, parts, until)
			}
			// A stop right after a step skips its validation.
			for step, v := range whole.Valid {
				if got, ok := parts.Valid[step]; !ok {
					parts.Valid[step] = v
				} else if got != v {
					t.Errorf("validation %+v, want %+v", got, v)
				}
			}
			if d := cmp.Diff(whole, parts); d != "" {
				t.Errorf("the interrupted run differs: %s", d)
			}
			if len(whole.Loss) != 12 || len(whole.Valid) != 3 {
				t.Errorf("%d steps, %d validations", len(whole.Loss), len(whole.Valid))
			}
			a, b := tensors(t, dirs[0]), tensors(t, dirs[2])
			if d := cmp.Diff(a, b); d != "" {
				t.Errorf("final weights differ: %.300s", d)
			}
			other := tiny(filepath.Join(t.TempDir(), "d"), data, dev)
			other.Seed, other.Steps = 2, 1
			seeded := newCurve()
			tr, err = train.New(other)
			if follow(t, tr, err, seeded, 0); seeded.Loss[1] == whole.Loss[1] {
				t.Error("the seed makes no difference")
			}
		})
	}
}

// TestOverfit: a tiny model learns a text by heart, ternary and plain, from a
// learned tokenizer, and with an architecture of the caller's own.
func TestOverfit(t *testing.T) {
	dev := fast(t, 2)
	own := func(b *graph.Builder, tok layer.Tokens) graph.Value {
		var nn layer.Net
		x, _ := nn.Embed(tok.IDs, "embed", 257, 32)
		x = layer.Repeat(x, "blocks", 1, func(x graph.Value) graph.Value {
			h := nn.Norm(x, "norm", 1e-5)
			q, k, v := nn.BitLinear(h, "q", 32), nn.BitLinear(h, "k", 32), nn.BitLinear(h, "v", 32)
			q, k = ops.RoPE(q, tok.Pos, 10000, 16), ops.RoPE(k, tok.Pos, 10000, 16)
			o := ops.Attention(q, k, v, tok.Seq, tok.Pos, ops.AttentionAttrs{Heads: 2, KVHeads: 2, Window: 8})
			x = ops.Add(x, nn.BitLinear(o, "o_proj", 32))
			return ops.Add(x, nn.BitLinear(ops.ReLU2(nn.BitLinear(nn.Norm(x, "ffn_norm", 1e-5), "up", 64)), "down_proj", 32))
		})
		return nn.Linear(nn.Norm(x, "final", 1e-5), "head", 257)
	}
	for _, v := range []struct {
		name   string
		change func(*train.Config)
	}{
		{"ternary", func(*train.Config) {}},
		{"plain", func(c *train.Config) { c.Plain = true }},
		{"bpe", func(c *train.Config) { c.Tokenizer = train.Tokenizer{Kind: train.BPE, Vocab: 290} }},
		{"own", func(c *train.Config) { c.Declare = own }},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
			c.Rows, c.Window, c.Steps, c.SaveEvery, c.ValidateEvery = 4, 32, 160, 0, 0
			c.Optimizer.Schedule.Peak, c.Optimizer.Schedule.SecondPeak = 0.02, 0.01
			v.change(&c)
			tr, err := train.New(c)
			if err != nil {
				t.Fatal(err)
			}
			var first, last train.Event
			var valid train.Validated
			err = tr.Run(t.Context(), func(e train.Event) {
				switch e.Kind {
				case train.Stepped:
					if e.Step == 1 {
						first = e
					}
					last = e
				case train.Scored:
					valid = e.Valid
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if uniform := math.Log(290); first.Loss > uniform+1.5 || first.Loss < 4 {
				t.Errorf("first loss %v", first.Loss)
			}
			t.Logf("%.3f to %.3f nats, %.3f bits/byte held out", first.Loss, last.Loss, valid.BitsPerByte)
			if valid.BitsPerByte > 3 || last.Step != 160 {
				t.Errorf("after %d steps %.3f bits/byte", last.Step, valid.BitsPerByte)
			}
			score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Declare: c.Declare, Windows: c.ValidateWindows})
			if err != nil {
				t.Fatal(err)
			}
			if got := score.BitsPerByte(); got != valid.BitsPerByte {
				t.Errorf("evaluated %v bits/byte, the trainer said %v", got, valid.BitsPerByte)
			}
			wide, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Declare: c.Declare, Window: 24, Rows: 3, Overlap: 12})
			if err != nil {
				t.Fatal(err)
			}
			if wide.Bytes == 0 || math.Abs(wide.BitsPerByte()-valid.BitsPerByte) > 0.7 {
				t.Errorf("with overlap: %+v", wide)
			}
		})
	}
}

// TestStartFromMasters: a run's weights and tokenizer start another.
func TestStartFromMasters(t *testing.T) {
	dev, data := fast(t, 2), texts(t)
	first := tiny(filepath.Join(t.TempDir(), "a"), data, dev)
	tr, err := train.New(first)
	follow(t, tr, err, newCurve(), 0)
	second := tiny(filepath.Join(t.TempDir(), "b"), data, dev)
	second.From, second.Model, second.Steps = first.Dir, checkpoint.Config{}, 1
	second.Optimizer.Schedule.Peak, second.Optimizer.Schedule.SecondPeak = 0, 0
	tr, err = train.New(second)
	follow(t, tr, err, newCurve(), 0)
	if d := cmp.Diff(tensors(t, first.Dir), tensors(t, second.Dir)); d != "" {
		t.Errorf("weights changed at a rate of 0: %.300s", d)
	}
	packed := filepath.Join(t.TempDir(), "packed")
	if err := train.Export(t.Context(), first.Dir, packed, train.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	second.Dir, second.From = filepath.Join(t.TempDir(), "c"), packed
	tr, err = train.New(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "masters") {
		t.Errorf("a start from codes: %v", err)
	}
}

// TestExport: every form opens, has the trainer's codes and scales, and brings
// the tokenizer along.
func TestExport(t *testing.T) {
	dev, data := fast(t, 2), texts(t)
	for _, kind := range []train.Tokenizer{{Kind: train.Bytes}, {Kind: train.BPE, Vocab: 280}} {
		c := tiny(filepath.Join(t.TempDir(), "run"), data, dev)
		c.Tokenizer = kind
		tr, err := train.New(c)
		follow(t, tr, err, newCurve(), 0)
		best, err := train.Weights(c.Dir, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []train.ExportOptions{{}, {Float: graph.BF16}, {To: "i2_s"}, {To: "i2_s", Float: graph.F16}, {To: "online"}} {
			out := filepath.Join(t.TempDir(), "out")
			if err := train.Export(t.Context(), best, out, o); err != nil {
				t.Errorf("%+v: %v", o, err)
				continue
			}
			want, err := checkpoint.Open(best)
			if err != nil {
				t.Fatal(err)
			}
			got, err := checkpoint.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			if o.Float == graph.InvalidDType {
				if err := checkpoint.Verify(t.Context(), want, got); err != nil {
					t.Errorf("%+v: %v", o, err)
				}
			}
			for _, s := range want.Specs() {
				if !s.Linear {
					continue
				}
				a, err := want.Linear(s.Name)
				if err != nil {
					t.Fatal(err)
				}
				b, err := got.Linear(s.Name)
				if err != nil {
					t.Fatal(err)
				}
				x, gx, errX := a.Ternary()
				y, gy, errY := b.Ternary()
				if d := cmp.Diff(x.I8(), y.I8()); d != "" || gx != gy || errX != nil || errY != nil {
					t.Errorf("%+v: %s: scales %v and %v, %v %v", o, s.Name, gx, gy, errX, errY)
				}
			}
			if o.To != "i2_s" {
				if _, err := tokenizer.Load(out); err != nil {
					t.Errorf("%+v: %v", o, err)
				}
			} else if v := got.Vocab(); v == nil || len(v.Tokens) != got.Config().Vocab {
				t.Errorf("%+v: no vocabulary", o)
			}
			if cfg := got.Config(); len(cfg.EOS) != 1 || cfg.EOS[0] != cfg.Vocab-1 {
				t.Errorf("%+v: ends at %v", o, cfg.EOS)
			}
			got.Close()
			want.Close()
		}
	}
}

// TestDiverges: a rate that blows up ends the run, and the last good checkpoint
// opens.
func TestDiverges(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	c.Plain, c.Steps = true, 60
	// A decay of 81 a step multiplies the weights by -80.
	c.Optimizer.Schedule = train.Schedule{Kind: train.Constant, Peak: 9, Decay: 9}
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(t.Context(), nil)
	if !errors.Is(err, train.ErrDiverged) || !strings.Contains(err.Error(), "checkpoints") {
		t.Fatalf("error %v", err)
	}
	m, err := checkpoint.Open(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for name, vals := range tensors(t, c.Dir) {
		for _, v := range vals {
			if v-v != 0 {
				t.Fatalf("%s holds %v", name, v)
			}
		}
	}
	if _, err := train.Resume(c.Dir, func(r *train.Config) { r.Device = c.Device }); err != nil {
		t.Error(err)
	}
}

// TestUnloadable: a model that its own file cannot describe is refused before
// any training.
func TestUnloadable(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	c.Model.SubNorm = false // which model_type bitnet always has
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Stepped {
			t.Error(e)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "sub_norm") {
		t.Errorf("error %v", err)
	}
}

// TestConfigErrors: everything wrong is reported at once.
func TestConfigErrors(t *testing.T) {
	_, err := train.New(train.Config{Rows: -1})
	if err == nil {
		t.Fatal("an empty configuration is accepted")
	}
	for _, want := range []string{"folder", "device", "text", "tokenizer", "rows", "window", "steps", "keep", "schedule", "eps"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s in: %v", want, err)
		}
	}
	if _, err := train.Resume(t.TempDir(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resuming nothing: %v", err)
	}
	dir, dev := filepath.Join(t.TempDir(), "run"), fast(t, 1)
	c := tiny(dir, texts(t), dev)
	c.Steps = 2
	tr, err := train.New(c)
	follow(t, tr, err, newCurve(), 0)
	if _, err := train.New(c); err == nil || !strings.Contains(err.Error(), "resume") {
		t.Errorf("a second run in one folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.Data.Path, "f0.go"), []byte("other"), 0o666); err != nil {
		t.Fatal(err)
	}
	tr, err = train.Resume(dir, func(r *train.Config) { r.Device, r.Steps = dev, 4 })
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not what the run began with") {
		t.Errorf("changed text: %v", err)
	}
}
