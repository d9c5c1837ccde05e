package adapter

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/models/checkpoint"
)

const target = "model.layers.1.mlp.up_proj"

// random adapts one projection of a model, by a product of the given size.
func random(t *testing.T, m *checkpoint.Model, size float64) *Adapter {
	t.Helper()
	l, err := m.Linear(target + ".weight")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(dims ...int) graph.Tensor {
		x := graph.NewTensor(graph.F32, dims...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.NormFloat64() * math.Sqrt(size))
		}
		return x
	}
	return &Adapter{Config: Config{Rank: 2, Alpha: 2}, Tensors: map[string]graph.Tensor{
		target + ".lora_A.weight": fill(2, l.Dims[1]), target + ".lora_B.weight": fill(l.Dims[0], 2),
	}}
}

// TestMerge: a product of nothing changes nothing, not even a scale; one far below
// the step between codes is lost; a large one is mostly kept, as near as ternary
// weights come. What is written is what was measured.
func TestMerge(t *testing.T) {
	dir := golden.Path(t, "pub_c_mqa4_untied_f32")
	for _, form := range []string{"online", "offline"} {
		m, err := checkpoint.Open(filepath.Join(dir, form))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		l, err := m.Linear(target + ".weight")
		if err != nil {
			t.Fatal(err)
		}
		old, gamma, err := l.Ternary()
		if err != nil {
			t.Fatal(err)
		}
		g := float64(gamma)
		last := 0.0
		for _, size := range []float64{0, g / 100, g, 30 * g} {
			out, err := Merge(t.Context(), m, random(t, m, size))
			if err != nil {
				t.Fatal(err)
			}
			got, err := out.Model.Linear(target + ".weight")
			if err != nil {
				t.Fatal(err)
			}
			codes, scale, err := got.Ternary()
			if err != nil {
				t.Fatal(err)
			}
			changed := 0
			for i, c := range codes.I8() {
				if c != old.I8()[i] {
					changed++
				}
			}
			if changed != out.Changed || out.Codes != codes.Len() {
				t.Errorf("%s: %d codes changed, %d of %d reported", form, changed, out.Changed, out.Codes)
			}
			if size == 0 && (changed != 0 || math.Abs(float64(scale)/g-1) > 1e-6 || out.Lost != 0) {
				t.Errorf("%s: an adapter of nothing changed %d codes, the scale %v to %v", form, changed, gamma, scale)
			}
			t.Logf("%s: of a product of %v steps %.2f is lost", form, size/g, out.Lost)
			if last = out.Lost; size == g/100 && last < 0.9 {
				t.Errorf("%s: only %v of a small product is lost", form, last)
			}
			// Written and read it is the same model.
			to := filepath.Join(t.TempDir(), "merged")
			if err := checkpoint.Convert(t.Context(), out.Model, to, checkpoint.ConvertOptions{To: form, Verify: true}); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
		if last > 0.7 {
			t.Errorf("%s: %v of a large product is lost", form, last)
		}
		wrong := random(t, m, 1)
		wrong.Tensors["model.layers.99.q_proj.lora_A.weight"] = wrong.Tensors[target+".lora_A.weight"]
		if _, err := Merge(t.Context(), m, wrong); err == nil || !strings.Contains(err.Error(), "fit no projection") {
			t.Errorf("got %v", err)
		}
	}
}
