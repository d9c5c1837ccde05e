package train_test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/train"
)

// TestDiagnose breaks a weight of a known layer and demands the op and the layer.
func TestDiagnose(t *testing.T) {
	fill := func(v float32) func([]float32) {
		return func(w []float32) {
			for i := range w {
				w[i] *= v
			}
		}
	}
	for _, c := range []struct {
		param string
		harm  func(w []float32)
		plain bool
		want  []string
	}{
		{"model.layers.1.mlp.up_proj.weight", func(w []float32) { w[5] = float32(math.NaN()) }, false,
			[]string{"element 5 of the weight model.layers.1.mlp.up_proj.weight was NaN"}},
		{"model.layers.0.self_attn.k_proj.weight", func(w []float32) { w[0] = float32(math.Inf(-1)) }, false,
			[]string{"element 0 of the weight model.layers.0.self_attn.k_proj.weight was -Inf"}},
		{"model.layers.1.mlp.gate_proj.weight", fill(1e25), false, []string{"model.go:", "model.layers.1.mlp: relu2 is the first op", "+Inf at element", "operands up to"}},
		{"model.layers.1.mlp.gate_proj.weight", fill(1e25), true, []string{"model.go:", "model.layers.1.mlp: relu2 is the first op", "+Inf at element"}},
		{"model.layers.0.self_attn.attn_sub_norm.weight", fill(3e38), false, []string{"model.layers.0.self_attn: rmsnorm is the first op"}},
		{"model.norm.weight", fill(1), false, []string{"every value is finite; the largest"}},
	} {
		for _, dev := range testDevices(t) {
			t.Run(fmt.Sprintf("%s/plain=%v/%s", c.param, c.plain, dev.Name()), func(t *testing.T) {
				e, w, b := newEngine(t, dev, func(r *train.Recipe) { r.Plain = c.plain })
				c.harm(w[c.param].F32())
				if err := e.SetState(t.Context(), train.State{Weights: w}); err != nil {
					t.Fatal(err)
				}
				f, err := e.Diagnose(t.Context(), b, 1e-3, 0.1)
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range c.want {
					if !strings.Contains(f.String(), want) {
						t.Errorf("no %q in %q", want, f)
					}
				}
			})
		}
	}
}

// TestCheckFinite: a diverging run names the op, saves the state before the bad
// step, and a run resumed there diverges at the same step.
func TestCheckFinite(t *testing.T) {
	dev := fast(t, 1)
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.Plain, c.Steps, c.CheckFinite, c.SaveInline = true, 60, true, true
	// A decay of 81 a step multiplies the weights by -80.
	c.Optimizer.Schedule = train.Schedule{Kind: train.Constant, Peak: 9, Decay: 9}
	c.Explode = 0
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Stepped {
			last = e.Step
		}
	})
	kept := fmt.Sprintf("step-%08d", last)
	if !errors.Is(err, train.ErrDiverged) || !strings.Contains(err.Error(), kept) || !strings.Contains(err.Error(), ".go:") || !strings.Contains(err.Error(), "first op") {
		t.Fatalf("after step %d: %v", last, err)
	}
	tr, again := train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	if again == nil {
		again = tr.Run(t.Context(), nil)
	}
	if !errors.Is(again, train.ErrDiverged) || !strings.Contains(again.Error(), fmt.Sprintf("step %d:", last+1)) {
		t.Errorf("resumed: %v\nbefore: %v", again, err)
	}
}
