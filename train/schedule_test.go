package train

import (
	"math"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
)

func TestSchedule(t *testing.T) {
	bit := Schedule{Kind: BitNet, Peak: 8, SecondPeak: 4, Switch: 0.5, Decay: 0.1, SecondDecay: 0.01, Warmup: 3}
	cos := Schedule{Kind: Cosine, Peak: 8, Floor: 0.25, Decay: 0.1}
	flat := Schedule{Kind: Constant, Peak: 8, Decay: 0.1, Warmup: 1}
	for _, c := range []struct {
		s         *Schedule
		step      int
		lr, decay float64
	}{
		{&bit, 0, 8 * 0.25, 0.1}, {&bit, 1, 8 * 0.99 * 0.5, 0.1}, {&bit, 3, 8 * 0.97, 0.1}, {&bit, 49, 8 * 0.51, 0.1},
		{&bit, 50, 4 * 0.5, 0.01}, {&bit, 99, 4 * 0.01, 0.01},
		{&cos, 0, 8, 0.1}, {&cos, 50, 8 * 0.625, 0.1}, {&cos, 100, 2, 0.1},
		{&flat, 0, 4, 0.1}, {&flat, 1, 8, 0.1}, {&flat, 99, 8, 0.1},
	} {
		lr, decay := c.s.At(c.step, 100)
		if math.Abs(lr-c.lr) > 1e-12 || decay != c.decay {
			t.Errorf("%s at %d: rate %v and decay %v, want %v and %v", c.s.Kind, c.step, lr, decay, c.lr, c.decay)
		}
	}
}

func TestHyper(t *testing.T) {
	o := Optimizer{Beta1: 0.9, Beta2: 0.95}
	var h [4]float32
	o.hyper(&h, 0, 0.5, 0.25)
	for i, want := range []float64{0.5, 0.25, 1 - 0.9, math.Sqrt(1 - 0.95)} {
		if math.Abs(float64(h[i])-want) > 1e-7 {
			t.Errorf("hyper[%d] = %v, want %v", i, h[i], want)
		}
	}
	o.hyper(&h, 9, 0, 0)
	if want := 1 - math.Pow(0.9, 10); math.Abs(float64(h[2])-want) > 1e-7 {
		t.Errorf("tenth step: %v, want %v", h[2], want)
	}
}

// TestInit checks the spread of each kind of parameter, and that a parameter's
// values do not depend on the others.
func TestInit(t *testing.T) {
	declare := func(layers int) *graph.Graph {
		g, err := Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value {
			var nn layer.Net
			x, table := nn.Embed(tok.IDs, "embed", 300, 64)
			x = layer.Repeat(x, "layers", layers, func(x graph.Value) graph.Value {
				h := nn.BitLinear(nn.Norm(x, "norm", 1e-5), "up", 256)
				return ops.Add(x, nn.BitLinear(h, "down_proj", 64))
			})
			return ops.Linear(x, table)
		}, 16)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	c := Default().Init
	g := declare(4)
	w, err := c.Weights(g, 7)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"embed.weight": 1.0 / 8, "layers.0.up.weight": 0.02, "layers.3.down_proj.weight": 0.01,
	} {
		var sum, sq float64
		vals := w[name].F32()
		for _, v := range vals {
			sum += float64(v)
			sq += float64(v) * float64(v)
		}
		n := float64(len(vals))
		if std := math.Sqrt(sq / n); len(vals) == 0 || math.Abs(std/want-1) > 0.03 || math.Abs(sum/n) > 0.03*want {
			t.Errorf("%s: %v values of mean %v and deviation %v, want %v", name, n, sum/n, std, want)
		}
	}
	for _, v := range w["layers.0.norm.weight"].F32() {
		if v != 1 {
			t.Fatalf("norm weight %v", v)
		}
	}
	if len(w) != len(g.Params()) {
		t.Errorf("%d weights for %d params", len(w), len(g.Params()))
	}
	fewer, err := c.Weights(declare(1), 7)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Weights(g, 8)
	if err != nil {
		t.Fatal(err)
	}
	const name = "layers.0.up.weight"
	if string(fewer[name].Data) != string(w[name].Data) || string(other[name].Data) == string(w[name].Data) {
		t.Error("values depend on other params, or not on the seed")
	}
	if string(w[name].Data) == string(w["layers.1.up.weight"].Data) {
		t.Error("two params are equal")
	}
}

// TestWatch: a loss that is not finite always ends a run; a high one only after
// the mean is known, and above both limits.
func TestWatch(t *testing.T) {
	w := watch{explode: 3, uniform: 5}
	at := func(loss, norm float64) string { return w.wrong(Result{Loss: loss, GradNorm: norm}) }
	if at(1e9, 1) != "" || at(math.NaN(), 1) == "" || at(math.Inf(1), 1) == "" || at(1, math.NaN()) == "" {
		t.Error("the first losses")
	}
	w = watch{explode: 3, uniform: 5}
	for range 20 {
		if why := at(2, 1); why != "" {
			t.Fatal(why)
		}
	}
	if at(19.9, 1) != "" || at(5, 1) != "" {
		t.Error("a spike below four times a guess")
	}
	if why := at(50, 1); !strings.Contains(why, "50 after 3") {
		t.Errorf("an explosion: %q", why)
	}
	w.explode = 0
	if at(50, 1) != "" {
		t.Error("an explosion that nobody asked about")
	}
}
