package screen_test

import (
	"math"
	"slices"
	"testing"

	"github.com/trit-ml/trit/ops/screen"
)

// TestPower compares with the C library's exponential.
func TestPower(t *testing.T) {
	for x := 0.0; x > -699; x -= 0.37 {
		got := screen.Draw{Temperature: 1}.Power(float32(x), 0)
		want := math.Exp(float64(float32(x)))
		if math.Abs(got-want) > 2e-14*want {
			t.Fatalf("e^%v = %v, want %v", x, got, want)
		}
	}
	for _, d := range []screen.Draw{{Temperature: 1}, {Temperature: 1e-30}} {
		if p := d.Power(-2000, 3); p != 0 {
			t.Errorf("%v of a token that is never drawn", p)
		}
	}
}

// TestPickBits pins what is drawn: runs that are repeated with another version
// give the same text.
func TestPickBits(t *testing.T) {
	logits := []float32{3, 2.5, 2.5, 1, 0, -1, -1, -8}
	for _, c := range []struct {
		d    screen.Draw
		want []int
	}{
		{screen.Draw{Seed: 1, Temperature: 1}, []int{0, 0, 2, 2, 0, 5, 1, 0, 2, 1, 1, 2}},
		{screen.Draw{Seed: 1 << 40, Temperature: 3, TopP: 0.9}, []int{2, 2, 2, 2, 0, 0, 2, 0, 4, 1, 3, 2}},
		{screen.Draw{Seed: 7, Temperature: 0.5, MinP: 0.1}, []int{1, 2, 0, 0, 0, 1, 0, 2, 0, 0, 2, 1}},
	} {
		var got []int
		for n := range 12 {
			c.d.Count = uint64(n)
			got = append(got, c.d.Pick(logits, make([]float64, len(logits))))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.d, got, c.want)
		}
	}
}

// TestPickShares compares how often places are drawn with their probabilities.
func TestPickShares(t *testing.T) {
	logits := []float32{2, 1.5, 1.5, 0, -1}
	for _, d := range []screen.Draw{
		{Seed: 3, Temperature: 1}, {Seed: 4, Temperature: 0.5}, {Seed: 5, Temperature: 2, TopP: 0.6}, {Seed: 6, Temperature: 1, MinP: 0.5}, {Seed: 7, Temperature: 1, TopP: 0.9, MinP: 0.2},
	} {
		want := make([]float64, len(logits))
		sum, mass := 0.0, 0.0
		for i, v := range logits {
			want[i] = math.Exp(float64(v-2) / float64(d.Temperature))
			sum += want[i]
		}
		all := sum
		sum = 0
		for i, p := range want {
			if i > 0 && (d.TopP > 0 && mass >= float64(d.TopP)*all || p < float64(d.MinP)) {
				want[i] = 0
			}
			mass += p
			sum += want[i]
		}
		const draws = 20000
		counts := make([]float64, len(logits))
		sums := make([]float64, len(logits))
		for n := range draws {
			d.Count = uint64(n)
			counts[d.Pick(logits, sums)]++
		}
		for i, w := range want {
			p := w / sum
			if sigma := math.Sqrt(p * (1 - p) / draws); math.Abs(counts[i]/draws-p) > 5*sigma {
				t.Errorf("%+v: place %d drawn with frequency %.4f, want %.4f", d, i, counts[i]/draws, p)
			}
		}
	}
}
