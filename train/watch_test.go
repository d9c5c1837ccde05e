package train_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/tfevents"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/record"
)

// columns reads a CSV of a run without what depends on the clock.
func columns(t *testing.T, path string) map[string][]string {
	t.Helper()
	d, err := record.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for _, c := range d.Columns {
		if c != "seconds" && c != "tokens_per_second" {
			m[c], _ = d.Text(c)
		}
	}
	return m
}

// TestCurves: a run that was interrupted at several places, by a cancellation
// and by a death after rows that no checkpoint knows, leaves the CSV files of the
// whole one, and TensorBoard files that say the same.
func TestCurves(t *testing.T) {
	dev, data := fast(t, 1), texts(t)
	whole := tiny(filepath.Join(t.TempDir(), "a"), data, dev)
	whole.Steps, whole.StatsEvery, whole.SaveEvery, whole.SaveInline = 30, 2, 5, true
	tr, err := train.New(whole)
	var measured []train.WeightStats
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Measured {
			measured = append(measured, e.Weights...)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c := whole
	c.Dir = filepath.Join(t.TempDir(), "b")
	tr, err = train.New(c)
	follow(t, tr, err, newCurve(), 8)
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	follow(t, tr, err, newCurve(), 13)
	// A checkpoint that is lost, as by a death before it was written.
	if err := os.RemoveAll(filepath.Join(c.Dir, "checkpoints", "step-00000013")); err != nil {
		t.Fatal(err)
	}
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	follow(t, tr, err, newCurve(), 0)
	for _, name := range []string{"metrics.csv", "weights.csv"} {
		if d := cmp.Diff(columns(t, filepath.Join(whole.Dir, name)), columns(t, filepath.Join(c.Dir, name))); d != "" {
			t.Errorf("%s differs: %.600s", name, d)
		}
	}
	m := columns(t, filepath.Join(whole.Dir, "metrics.csv"))
	if len(m["step"]) != 30 || m["valid_loss"][3] != "" || m["valid_loss"][4] == "" || m["tokens"][29] != "1440" {
		t.Errorf("metrics %v", m)
	}
	w := columns(t, filepath.Join(whole.Dir, "weights.csv"))
	if len(w["step"]) != 15*14 || w["dead"][9*14-1] != "" || w["dead"][9*14] == "" {
		t.Errorf("%d rows of weights, dead %q", len(w["step"]), w["dead"])
	}
	if len(measured) != 15*14 {
		t.Errorf("%d measurements", len(measured))
	}
	flips := 0.0
	for _, s := range measured {
		flips += s.FlipRate
		if sum := s.Minus + s.Zero + s.Plus; math.Abs(sum-1) > 1e-9 || s.Dead > s.Zero || s.Dead > s.Frozen || !(s.Scale > 0) || math.Abs(s.Drift) > 5 {
			t.Errorf("%+v", s)
		}
	}
	if flips == 0 {
		t.Error("no code ever flips")
	}
	last := map[int64]float32{}
	files, err := filepath.Glob(filepath.Join(c.Dir, "tensorboard", "*tfevents*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	slices.Sort(files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		events, err := tfevents.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Start {
				for step := range last {
					if step >= e.Step {
						delete(last, step)
					}
				}
			}
			for _, s := range e.Scalars {
				if s.Tag == "loss/train" {
					if _, twice := last[e.Step]; twice {
						t.Errorf("step %d twice", e.Step)
					}
					last[e.Step] = s.Value
				}
			}
		}
	}
	if len(last) != 30 {
		t.Errorf("TensorBoard has %d steps", len(last))
	}
}

// TestCurvesFail: curves that cannot be written are one warning, and training
// goes on; those of another version are moved away.
func TestCurvesFail(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	if err := os.MkdirAll(filepath.Join(c.Dir, "weights.csv"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "metrics.csv"), []byte("step,old\n1,2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "tensorboard"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	warned := ""
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Warned {
			warned += e.Message + "\n"
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(warned, "\n"); n != 3 || !strings.Contains(warned, "weights.csv") || !strings.Contains(warned, "metrics.csv.old") || !strings.Contains(warned, "tensorboard") {
		t.Errorf("warned %q", warned)
	}
	if m := columns(t, filepath.Join(c.Dir, "metrics.csv")); len(m["step"]) != c.Steps {
		t.Errorf("steps %v", m["step"])
	}
}

// TestStatsBegin: a run that was
// not measured begins to be when it is resumed.
func TestStatsBegin(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.StatsEvery = 0
	tr, err := train.New(c)
	follow(t, tr, err, newCurve(), 6)
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device, r.StatsEvery = dev, 1 })
	follow(t, tr, err, newCurve(), 0)
	if w := columns(t, filepath.Join(c.Dir, "weights.csv")); len(w["step"]) != 6*14 || w["step"][0] != "7" {
		t.Errorf("steps %v", w["step"])
	}
	defer atomicfile.Intercept(func(string, string) error { return errors.New("nothing is written") })()
	if _, err := train.Weights(c.Dir, true); err != nil {
		t.Errorf("reading needs to write: %v", err)
	}
}
