package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

var references = []string{"train_pub_a_tied", "train_pub_b_untied"}

// reference is a golden training run.
type reference struct {
	model       *checkpoint.Model
	golden      *safetensors.File
	rows, width int
	lr, decay   float64
}

func openReference(t *testing.T, name string) *reference {
	t.Helper()
	dir := golden.Path(t, name)
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Cfg struct {
			B, S   int
			LR, WD float64
		}
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		t.Fatal(err)
	}
	r := &reference{rows: meta.Cfg.B, width: meta.Cfg.S, lr: meta.Cfg.LR, decay: meta.Cfg.WD}
	if r.model, err = checkpoint.Open(filepath.Join(dir, "init")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.model.Close() })
	if r.golden, err = safetensors.Open(filepath.Join(dir, "golden_train.safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.golden.Close() })
	return r
}

func (r *reference) tensor(t *testing.T, name string) graph.Tensor {
	t.Helper()
	x, err := r.golden.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (r *reference) loss(t *testing.T) *graph.Graph {
	t.Helper()
	cfg := r.model.Config()
	g, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value {
		return bitnet158.Declare(b, cfg, tok)
	}, r.rows*r.width)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (r *reference) weights(t *testing.T) map[string]graph.Tensor {
	t.Helper()
	w := map[string]graph.Tensor{}
	for _, s := range r.model.Specs() {
		x, err := r.model.Tensor(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		w[s.Name] = x
	}
	return w
}

// batch is batch i of the reference: every row predicts its own next tokens.
func (r *reference) batch(t *testing.T, i int) *data.Batch {
	t.Helper()
	n := r.rows * r.width
	b := data.NewBatch(r.rows, r.width)
	copy(b.Tokens, r.tensor(t, "data").I32()[i*n:(i+1)*n])
	for j := range n {
		b.Seq[j], b.Pos[j] = int32(j/r.width), int32(j%r.width)
		b.Targets[j] = data.IgnoreTarget
		if j%r.width+1 < r.width {
			b.Targets[j] = b.Tokens[j+1]
			b.Counted++
		}
	}
	return b
}

// TestGradients compares loss and gradients of the first batch.
func TestGradients(t *testing.T) {
	for _, name := range references {
		for _, dev := range testDevices(t) {
			t.Run(name+"/"+dev.Name(), func(t *testing.T) {
				r := openReference(t, name)
				loss := r.loss(t)
				pipe := append(passes.Eval(false), passes.Grad(nil), passes.CSE(), passes.DCE())
				g, err := pipe.Run(loss, nil)
				if err != nil {
					t.Fatal(err)
				}
				n := r.rows * r.width
				prog, err := runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, n))
				if err != nil {
					t.Fatal(err)
				}
				if err := prog.Load(t.Context(), runtime.Tensors(r.weights(t))); err != nil {
					t.Fatal(err)
				}
				run, err := prog.NewRun()
				if err != nil {
					t.Fatal(err)
				}
				defer run.Close()
				b := r.batch(t, 0)
				for name, vals := range map[string][]int32{"tokens": b.Tokens, "seq": b.Seq, "pos": b.Pos, "targets": b.Targets} {
					in, err := prog.Input(name)
					if err != nil {
						t.Fatal(err)
					}
					run.SetI32(in, vals)
				}
				if err := run.Step(t.Context()); err != nil {
					t.Fatal(err)
				}
				out := func(i int) graph.Tensor {
					x, err := run.Output(t.Context(), i)
					if err != nil {
						t.Fatal(err)
					}
					return x
				}
				want := r.tensor(t, "step0.loss").FloatAt(0)
				if got := out(0).FloatAt(0); math.Abs(got-want) > 1e-4*want {
					t.Errorf("loss %v, want %v", got, want)
				}
				worst, at := 0.0, ""
				for i, p := range loss.Params() {
					name := graph.SourceName(p)
					if d := relative(t, out(1+i), r.tensor(t, "step0.grad64."+name)); d > worst {
						worst, at = d, name
					}
				}
				if worst > 1e-4 {
					t.Errorf("gradient of %s differs by %.3g relative", at, worst)
				}
				t.Logf("%d gradients, worst relative difference %.3g in %s", len(loss.Params()), worst, at)
			})
		}
	}
}

// relative is |a-b|₂ / |b|₂.
func relative(t *testing.T, a, b graph.Tensor) float64 {
	t.Helper()
	if a.Len() != b.Len() || a.Len() == 0 {
		t.Fatalf("%v elements, want %v", a.Dims, b.Dims)
	}
	var diff, norm float64
	for i := range a.Len() {
		d := a.FloatAt(i) - b.FloatAt(i)
		diff += d * d
		norm += b.FloatAt(i) * b.FloatAt(i)
	}
	return math.Sqrt(diff / norm)
}

// TestLossCurve trains the reference's twenty steps.
func TestLossCurve(t *testing.T) {
	for _, name := range references {
		for _, dev := range testDevices(t) {
			t.Run(name+"/"+dev.Name(), func(t *testing.T) {
				r := openReference(t, name)
				o := train.Optimizer{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, DecayAll: true}
				e, err := train.NewEngine(r.loss(t), train.Recipe{Optimizer: o}, dev, r.rows*r.width)
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				if err := e.SetState(t.Context(), train.State{Weights: r.weights(t)}); err != nil {
					t.Fatal(err)
				}
				losses, norms := r.tensor(t, "losses"), r.tensor(t, "grad_norms")
				var most, sum float64
				for i := range losses.Len() {
					res, err := e.Step(t.Context(), r.batch(t, i), r.lr, r.decay)
					if err != nil {
						t.Fatal(err)
					}
					d := math.Abs(res.Loss - losses.FloatAt(i))
					most, sum = max(most, d), sum+d
					if i == 0 {
						if want := norms.FloatAt(0); math.Abs(res.GradNorm-want) > 1e-4*want {
							t.Errorf("first gradient norm %v, want %v", res.GradNorm, want)
						}
					}
				}
				mean := sum / float64(losses.Len())
				if most > 0.1 || mean > 0.03 {
					t.Errorf("losses differ by up to %.4f, %.4f on average", most, mean)
				}
				t.Logf("losses differ by up to %.4f, %.4f on average", most, mean)
			})
		}
	}
}
