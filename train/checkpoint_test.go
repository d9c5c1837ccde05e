package train_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/train"
)

func checkpoints(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestKeep: the newest checkpoints stay, and the best.
func TestKeep(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.Steps, c.SaveEvery, c.ValidateEvery, c.Keep, c.SaveInline = 20, 3, 4, 2, true
	c.Explode = 0
	// The rate is harmless at first and ruins the model then.
	c.Optimizer.Schedule = train.Schedule{Kind: train.BitNet, Peak: 0.004, SecondPeak: 1, Switch: 0.45, Decay: 0.1}
	tr, err := train.New(c)
	seen := newCurve()
	follow(t, tr, err, seen, 0)
	best := seen.Valid[8]
	for step, v := range seen.Valid {
		if v.Loss < best.Loss {
			t.Fatalf("validation after step %d is the best, %v: the test expects 8, %v", step, v, best)
		}
	}
	if d := cmp.Diff([]string{"step-00000008", "step-00000018", "step-00000020"}, checkpoints(t, c.Dir)); d != "" {
		t.Error(d)
	}
	for want, isBest := range map[string]bool{"step-00000008": true, "step-00000020": false} {
		got, err := train.Weights(c.Dir, isBest)
		if err != nil || filepath.Base(filepath.Dir(got)) != want {
			t.Errorf("weights in %s, %v, want %s", got, err, want)
		}
		score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Best: isBest, Windows: c.ValidateWindows})
		if err != nil {
			t.Fatal(err)
		}
		step := 20
		if isBest {
			step = 8
		}
		if score.Loss() != seen.Valid[step].Loss {
			t.Errorf("%s scores %v, in training %v", want, score.Loss(), seen.Valid[step].Loss)
		}
	}
}

// TestDamaged: whatever happens to the newest checkpoint's files, resuming takes
// the one before, says so, and repeats the losses.
func TestDamaged(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.SaveInline = true
	tr, err := train.New(c)
	want := newCurve()
	follow(t, tr, err, want, 0)
	if d := cmp.Diff([]string{"step-00000010", "step-00000012"}, checkpoints(t, c.Dir)); d != "" {
		t.Fatal(d)
	}
	newest := filepath.Join(c.Dir, "checkpoints", "step-00000012")
	for name, damage := range map[string]func(text []byte) []byte{
		"optimizer.safetensors":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"model/model.safetensors": func(b []byte) []byte { return b[:len(b)-4] },
		"model/config.json":       func([]byte) []byte { return nil },
		"train.json":              func(b []byte) []byte { return append(b, ' ') },
		"manifest.json":           func(b []byte) []byte { return b[:10] },
	} {
		path := filepath.Join(newest, filepath.FromSlash(name))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Not in place: the run folder's weights are a link to the same file.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if text = damage(text); text != nil {
			if err := os.WriteFile(path, text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		tr, err := train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, warned := newCurve(), ""
		err = tr.Run(t.Context(), func(e train.Event) {
			got.add(e)
			if e.Kind == train.Warned {
				warned += e.Message
			}
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(warned, "step-00000012") {
			t.Errorf("%s: warned %q", name, warned)
		}
		if len(got.Loss) != 2 || got.Loss[11] != want.Loss[11] || got.Loss[12] != want.Loss[12] || got.Valid[12] != want.Valid[12] {
			t.Errorf("%s: repeated %v", name, got.Loss)
		}
	}
}

// TestSaveFails: a checkpoint that cannot be written is reported, training goes
// on, earlier checkpoints stay, and later ones are written where they can be.
func TestSaveFails(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.ValidateEvery, c.SaveInline = 0, true
	folder, away := filepath.Join(c.Dir, "checkpoints"), filepath.Join(c.Dir, "away")
	block := func() error { return errors.Join(os.Rename(folder, away), os.WriteFile(folder, nil, 0o666)) }
	restore := func() error { return errors.Join(os.Remove(folder), os.Rename(away, folder)) }
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var warned, steps int
	err = tr.Run(t.Context(), func(e train.Event) {
		switch {
		case e.Kind == train.Warned:
			warned++
		case e.Kind == train.Stepped:
			steps++
			var err error
			switch e.Step {
			case 6:
				err = block()
			case 10:
				err = restore()
			case 11:
				if d := cmp.Diff([]string{"step-00000000", "step-00000004"}, checkpoints(t, c.Dir)); d != "" {
					t.Error(d)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if err != nil || warned != 1 || steps != c.Steps {
		t.Errorf("%d warnings in %d steps, %v", warned, steps, err)
	}
	if d := cmp.Diff([]string{"step-00000004", "step-00000012"}, checkpoints(t, c.Dir)); d != "" {
		t.Error(d)
	}
	c.Dir = filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(c.Dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if tr, err = train.New(c); err == nil {
		err = tr.Run(t.Context(), nil)
	}
	if err == nil {
		t.Error("a run in a file")
	}
}
