package train_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// TestExportedModelsAreTheTrainers: what is exported, run with integer kernels,
// has the validation loss that the trainer measured with quantizers in floats,
// to 1e-4, and writes the text that the trainer's own forward pass writes.
func TestExportedModelsAreTheTrainers(t *testing.T) {
	dev := fast(t, 2)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	// TQ2_0 has blocks of 256 along a row.
	c.Model.Hidden, c.Model.FFN, c.Model.Heads, c.Model.KVHeads, c.Model.HeadDim = 256, 256, 4, 2, 64
	c.Rows, c.Window, c.Steps, c.SaveEvery, c.ValidateEvery, c.ValidateWindows = 4, 32, 80, 0, 0, 0
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var last train.Validated
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Scored {
			last = e.Valid
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.BitsPerByte > 4 {
		t.Errorf("it has not learned: %+v", last)
	}
	prompt := append([]int32{256}, ids("package p7\n\nfunc f")...)
	want := greedy(t, dev, c.Dir, prompt, 40)
	t.Logf("%.4f nats, writes %q", last.Loss, text(want))
	for _, form := range []string{"", "online", "offline", "i2_s", "tq2_0", "tq1_0"} {
		model := c.Dir // the masters themselves
		if form != "" {
			model = filepath.Join(t.TempDir(), "model")
			if err := train.Export(t.Context(), c.Dir, model, train.ExportOptions{To: form}); err != nil {
				t.Fatal(err)
			}
		}
		m, err := engine.Open(model)
		if err != nil {
			t.Fatal(err)
		}
		e, err := m.Start(t.Context(), dev, engine.Shape{Context: 64})
		if err != nil {
			t.Fatal(err)
		}
		score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{ScoreBatch: func(ctx context.Context, b *data.Batch) (float64, error) {
			sc, err := e.ScoreTargets(ctx, b.Tokens, b.Seq, b.Targets)
			return sc.Nats, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		d := score.Loss() - last.Loss
		t.Logf("%-7s %+.2e nats", form, d)
		if math.Abs(d) > 1e-4 {
			t.Errorf("%s: loss %v, the trainer's %v", form, score.Loss(), last.Loss)
		}
		var got []int32
		_, err = e.Generate(t.Context(), engine.Request{Prompt: prompt, MaxTokens: len(want)}, func(id int32) error { got = append(got, id); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(text(want), text(got)); d != "" {
			t.Errorf("%s writes: %s", form, d)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func ids(text string) (ids []int32) {
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids
}

func text(ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return string(b)
}

// greedy continues a prompt with the likeliest tokens of the training form.
func greedy(t *testing.T, dev devices.Device, run string, prompt []int32, n int) []int32 {
	t.Helper()
	m, err := engine.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := graph.NewBuilder("forward")
	g, err := b.Finish(bitnet158.Declare(b, m.Config, layer.Inputs(b, len(prompt)+n)))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = passes.Eval(false).Run(g, nil); err != nil {
		t.Fatal(err)
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if err := prog.Load(t.Context(), m.Weights); err != nil {
		t.Fatal(err)
	}
	r, err := prog.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := append([]int32{}, prompt...)
	for range n {
		pos := make([]int32, len(all))
		for i := range pos {
			pos[i] = int32(i)
		}
		for name, v := range map[string][]int32{layer.TokensInput: all, layer.SeqInput: make([]int32, len(all)), layer.PosInput: pos} {
			in, err := prog.Input(name)
			if err != nil {
				t.Fatal(err)
			}
			r.SetI32(in, v)
		}
		if err := r.Step(t.Context(), len(all)); err != nil {
			t.Fatal(err)
		}
		out, err := r.Output(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		row := out.F32()[(len(all)-1)*m.Config.Vocab:]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		all = append(all, int32(best))
	}
	return all[len(prompt):]
}
