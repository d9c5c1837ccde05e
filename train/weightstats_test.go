package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/ops/ternary"
)

// TestMeasure counts codes, flips and threshold neighbours of a matrix by hand,
// and follows the dead zone over measurements.
func TestMeasure(t *testing.T) {
	// γ = mean|w| = 1: the thresholds are ±0.5.
	w := []float32{2, -2, 0.52, -0.48, 0.4, -0.6, 1.9, 0.1}
	codes := []byte{2, 0, 2, 1, 1, 0, 2, 1}
	before := append([]byte(nil), codes...)
	before[2], before[5] = 1, 1
	x := matrix{len(w), ternary.AbsMean}
	m := &measured{start: 0.8, marks: make([]byte, len(w))}
	for n := 1; n <= 80; n++ {
		s := m.measure("p", x, w, before)
		for _, v := range []struct {
			name      string
			got, want float64
		}{
			{"minus", s.Minus, 2. / 8}, {"zero", s.Zero, 3. / 8}, {"plus", s.Plus, 3. / 8}, {"flips", s.FlipRate, 2. / 8},
			{"scale", s.Scale, 1}, {"drift", s.Drift, 0.25}, {"boundary", s.Boundary, 2. / 8},
		} {
			if math.Abs(v.got-v.want) > 1e-6 {
				t.Fatalf("measurement %d: %s is %v, want %v", n, v.name, v.got, v.want)
			}
		}
		dead, frozen := 3./8, 1.
		switch {
		case n < DeadAfter:
			dead, frozen = math.NaN(), math.NaN()
		case n == 30: // one weight left the dead zone, below
			dead, frozen = 2./8, 7./8
		case n > 30 && n < 30+DeadAfter-1:
			dead, frozen = 2./8, 7./8
		}
		if !(s.Dead == dead && s.Frozen == frozen || n < DeadAfter && math.IsNaN(s.Dead) && math.IsNaN(s.Frozen)) {
			t.Fatalf("measurement %d: dead %v, frozen %v, want %v and %v", n, s.Dead, s.Frozen, dead, frozen)
		}
		if n == 29 { // as if it had come back with the next measurement
			m.marks[7] = 5<<2 | 2
		}
	}
	a, b := WeightStats{Weights: 1, Zero: 1, Dead: math.NaN()}, WeightStats{Weights: 3, Zero: 0.2, FlipRate: 0.4}
	if got := Total([]WeightStats{a, b}); got.Weights != 4 || math.Abs(got.Zero-0.4) > 1e-12 || math.Abs(got.FlipRate-0.3) > 1e-12 || !math.IsNaN(got.Dead) {
		t.Errorf("total %+v", got)
	}
}

// TestMeasureGroups: with a scale for each group codes follow the group's own
// thresholds.
func TestMeasureGroups(t *testing.T) {
	w := []float32{1, -1, 0.3, -0.3, 10, -10, 3, -3}
	x := matrix{len(w), ternary.ScaleAttrs{Scale: "absmean", Group: 4}}
	before := make([]byte, len(w))
	x.noteCodes(before, w)
	m := &measured{start: x.scale(w), marks: make([]byte, len(w))}
	s := m.measure("p", x, w, before)
	if s.Zero != 0.5 || s.Plus != 0.25 || s.Minus != 0.25 || s.FlipRate != 0 || math.Abs(s.Scale-28.6/8) > 1e-6 || s.Drift != 0 {
		t.Errorf("%+v", s)
	}
	x.quantizer.Group = 0 // as one, the small half is all zeros
	if s := m.measure("p", x, w, before); s.Zero != 0.5 || s.FlipRate != 0.5 {
		t.Errorf("%+v", s)
	}
}

// TestCode: the code without branches is the quantizer's.
func TestCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 1 << 16 {
		p := float32(rng.NormFloat64())
		for _, edge := range []float32{0.5, 1, 0, float32(math.Inf(1)), math.MaxFloat32, math.SmallestNonzeroFloat32} {
			if i < 8 {
				p = math.Nextafter32(edge, float32(i-4)*1e9)
				if i&1 == 1 {
					p = -p
				}
			}
			large, negative := code(p)
			if got, want := int8(large)-2*int8(large&negative), ternary.Code(p, 1); got != want {
				t.Fatalf("code of %v is %d, want %d", p, got, want)
			}
		}
	}
}

// BenchmarkMeasure is one measurement of a matrix, after its codes were noted
// before the step; ns/op over a million weights.
func BenchmarkMeasure(b *testing.B) {
	w := make([]float32, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range w {
		w[i] = float32(rng.NormFloat64() * 0.02)
	}
	before := make([]byte, len(w))
	x := matrix{len(w), ternary.AbsMean}
	m := &measured{start: 1, marks: make([]byte, len(w))}
	b.SetBytes(int64(4 * len(w)))
	for b.Loop() {
		x.noteCodes(before, w)
		m.measure("p", x, w, before)
	}
}
