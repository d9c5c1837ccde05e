package train_test

import (
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/train"
)

// TestDropout: a step with dropout is another one than without, and the same bits
// on 2 ranks as with 2 micro-batches; cut differently it differs by rounding alone,
// because each token's numbers stay; devices agree on them.
func TestDropout(t *testing.T) {
	dev := twins(t, 2)
	r := scaleRecipe(1e9)
	without := alone(t, dev, r)
	r.Dropout = train.Default().Dropout
	r.Dropout.P, r.Dropout.Seed = 0.3, 5
	with := alone(t, dev, r)
	if with.Results[0].Loss == without.Results[0].Loss {
		t.Error("dropout changes nothing")
	}
	near(t, "ref", with, alone(t, portable(t, 2), r), 0.02)
	parts := r
	parts.Scale.Accumulate = 2
	two := alone(t, dev, parts)
	near(t, "2 micro-batches", with, two, 0.02)
	equalBits(t, "2 ranks", two, onRanks(t, 2, dev, r))
	other := r
	other.Dropout.Seed = 6
	if alone(t, dev, other).Results[0].Loss == with.Results[0].Loss {
		t.Error("the seed changes nothing")
	}
}

// TestDropoutResumes: a resumed run draws what the uninterrupted one does.
func TestDropoutResumes(t *testing.T) {
	run := func(steps ...int) (losses []float64) {
		c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 2))
		c.Dropout.P, c.Steps, c.Optimizer.Schedule = 0.2, steps[0], train.Schedule{Kind: train.Constant, Peak: 1e-3}
		tr, err := train.New(c)
		for _, more := range append(steps[1:], 0) {
			if err == nil {
				err = tr.Run(t.Context(), func(e train.Event) {
					if e.Kind == train.Stepped {
						losses = append(losses, e.Loss)
					}
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			if more > 0 {
				tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device, r.Steps = c.Device, more })
			}
		}
		return losses
	}
	whole, parts := run(9), run(4, 9)
	if len(whole) != 9 || len(parts) != 9 {
		t.Fatalf("%d and %d steps", len(whole), len(parts))
	}
	for i, l := range whole {
		if l != parts[i] {
			t.Errorf("step %d: loss %v, resumed %v", i, l, parts[i])
		}
	}
}
