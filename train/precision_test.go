package train_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/train"
)

// TestPrecision holds steps in bf16 to steps in f32, in every way to compute them,
// and demands that what changes no bit in f32 changes none in bf16.
func TestPrecision(t *testing.T) {
	dev := portable(t, 2)
	recipe := func(change func(r *train.Recipe)) train.Recipe {
		r := scaleRecipe(1e9)
		r.Precision = train.BF16
		if change != nil {
			change(&r)
		}
		return r
	}
	for name, change := range map[string]func(r *train.Recipe){
		"integer forward": func(r *train.Recipe) { r.Quantization.Forward = train.ForwardInteger },
		"float forward":   func(r *train.Recipe) { r.Quantization.Forward = train.ForwardFloat },
		"plain":           func(r *train.Recipe) { r.Plain = true },
		"warming up": func(r *train.Recipe) {
			r.Quantization.Warmup, r.Quantization.WarmupSteps = train.WarmupLinear, 4
		},
	} {
		t.Run(name, func(t *testing.T) {
			half := recipe(change)
			full := half
			full.Precision = train.F32
			a, b := alone(t, dev, full), alone(t, dev, half)
			for i, r := range a.Results {
				if d := math.Abs(r.Loss-b.Results[i].Loss) / r.Loss; !(d < 0.01) || d == 0 {
					t.Errorf("step %d: loss %g in f32, %g in bf16", i, r.Loss, b.Results[i].Loss)
				}
				if d := math.Abs(r.GradNorm-b.Results[i].GradNorm) / r.GradNorm; !(d < 0.05) {
					t.Errorf("step %d: gradient's norm %g in f32, %g in bf16", i, r.GradNorm, b.Results[i].GradNorm)
				}
			}
			// Weights and moments are f32; the first moments point the same way.
			for name, m := range a.State.Moments {
				x, y := m.F32(), b.State.Moments[name].F32()
				if !strings.HasPrefix(name, "adam.m/") {
					continue
				}
				if c := cosine(x, y); !(c > 0.97) {
					t.Errorf("%s: cosine %g", name, c)
				}
			}
		})
	}
	accumulated := alone(t, dev, recipe(func(r *train.Recipe) { r.Scale.Accumulate = 2 }))
	equalBits(t, "2 ranks and 2 micro-batches", accumulated, onRanks(t, 2, dev, recipe(nil)))
	whole := alone(t, dev, recipe(nil))
	budget := recipe(nil)
	e, err := train.NewEngine(scaleLoss(t), budget, dev, scaleRows*scaleWindow)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Memory()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	budget.Scale.Memory = fmt.Sprint(m.Total() - m.Activations/8)
	equalBits(t, "recomputed", whole, alone(t, dev, budget))
}

func cosine(x, y []float32) float64 {
	var xy, xx, yy float64
	for i, v := range x {
		xy += float64(v) * float64(y[i])
		xx += float64(v) * float64(v)
		yy += float64(y[i]) * float64(y[i])
	}
	return xy / math.Sqrt(xx*yy)
}

// TestPrecisionRun trains a run in bf16 to the end, resumes it, and scores it where
// there are no kernels for bf16.
func TestPrecisionRun(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), portable(t, 2))
	c.Precision, c.CheckFinite, c.Steps = train.BF16, true, 6
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device, r.Steps = c.Device, 8 })
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.Config().Precision; got != train.BF16 {
		t.Errorf("resumed in %q", got)
	}
	if err := tr.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var scores [2]float64
	for i, dev := range []devices.Device{c.Device, fast(t, 2)} {
		s, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev})
		if err != nil {
			t.Fatal(err)
		}
		scores[i] = s.Loss()
	}
	if d := math.Abs(scores[0] - scores[1]); !(d < 0.01*scores[0]) {
		t.Errorf("%g in bf16, %g in f32", scores[0], scores[1])
	}
}

// TestPrecisionRefused: a device with some kernels in bf16 names the op that lacks
// one.
func TestPrecisionRefused(t *testing.T) {
	own := host.RefKernel()
	own.Name, own.Op, own.BF16 = "rmsnorm.ref", ops.RMSNormOp.OpDef, true
	dev := host.New(host.Config{Name: "some", Kernels: []devices.Kernel{own, host.RefKernel()}, Threads: 1})
	defer dev.Close()
	r := scaleRecipe(1)
	r.Precision = train.BF16
	_, err := train.NewEngine(scaleLoss(t), r, dev, scaleRows*scaleWindow)
	if err == nil || !strings.Contains(err.Error(), "precision bf16:") || !strings.Contains(err.Error(), "device some cannot run") ||
		!strings.Contains(err.Error(), graph.BF16.String()) || !strings.Contains(err.Error(), "set precision to f32") {
		t.Errorf("error %v", err)
	}
}
