package runtime

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// distribution is the oracle: the probability of each token by the definitions,
// with sorting and float64.
func distribution(logits []float32, seen map[int32]bool, o Sampling) []float64 {
	type tok struct {
		id int
		l  float64
	}
	var ts []tok
	for i, v := range logits {
		if seen[int32(i)] && o.RepeatPenalty > 0 {
			if v > 0 {
				v /= o.RepeatPenalty
			} else {
				v *= o.RepeatPenalty
			}
		}
		if v == v && !math.IsInf(float64(v), -1) {
			ts = append(ts, tok{i, float64(v)})
		}
	}
	slices.SortStableFunc(ts, func(a, b tok) int { return cmp.Compare(b.l, a.l) })
	if o.Temperature == 0 {
		ts = ts[:1]
	}
	if o.TopK > 0 {
		ts = ts[:min(o.TopK, len(ts))]
	}
	weight := func(t tok) float64 {
		if o.Temperature == 0 {
			return 1
		}
		return math.Exp((t.l - ts[0].l) / float64(o.Temperature))
	}
	total := func() (sum float64) {
		for _, t := range ts {
			sum += weight(t)
		}
		return sum
	}
	if o.TopP > 0 && o.TopP < 1 {
		all, mass, n := total(), 0.0, 0
		for n < len(ts) && mass < float64(o.TopP)*all {
			mass += weight(ts[n])
			n++
		}
		ts = ts[:n]
	}
	for len(ts) > 1 && weight(ts[len(ts)-1]) < float64(o.MinP) {
		ts = ts[:len(ts)-1]
	}
	out := make([]float64, len(logits))
	all := total()
	for _, t := range ts {
		out[t.id] = weight(t) / all
	}
	return out
}

func TestSamplerAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 60 {
		vocab := 1 + rng.IntN(12)
		logits := make([]float32, vocab)
		for i := range logits {
			logits[i] = float32(rng.IntN(9)-4) / 2 // with ties
		}
		if rng.IntN(3) == 0 {
			logits[rng.IntN(vocab)] = float32(math.Inf(-1))
		}
		logits[rng.IntN(vocab)] = 1
		pick := func(vals ...float32) float32 { return vals[rng.IntN(len(vals))] }
		o := Sampling{Temperature: pick(0, 0.5, 1, 2), TopK: rng.IntN(5), TopP: pick(0, 0.3, 0.9, 1), MinP: pick(0, 0, 0.2),
			RepeatPenalty: pick(0, 1, 1.5), RepeatWindow: 2, Seed: rng.Uint64()}
		seen := map[int32]bool{}
		counts := make([]float64, vocab)
		const draws = 4000
		s, err := NewSampler(vocab, o)
		if err != nil {
			t.Fatal(err)
		}
		prompt := []int32{int32(rng.IntN(vocab)), int32(rng.IntN(vocab)), int32(rng.IntN(vocab))}
		seen[prompt[1]], seen[prompt[2]] = true, true // the window holds two
		for range draws {
			s.Accept(prompt...)
			id, err := s.Next(logits)
			if err != nil {
				t.Fatal(err)
			}
			counts[id]++
		}
		for id, p := range distribution(logits, seen, o) {
			got := counts[id] / draws
			if p == 0 && got > 0 {
				t.Fatalf("%+v, logits %v, seen %v: token %d was drawn", o, logits, seen, id)
			}
			if sigma := math.Sqrt(p * (1 - p) / draws); math.Abs(got-p) > 5*sigma+1e-9 {
				t.Errorf("%+v, logits %v, seen %v: token %d drawn with frequency %.3f, want %.3f", o, logits, seen, id, got, p)
			}
		}
	}
}

func TestSamplerIsDeterministic(t *testing.T) {
	logits := make([]float32, 100)
	for i := range logits {
		logits[i] = float32(i%7) / 3
	}
	draw := func(seed uint64) (ids []int32) {
		s, err := NewSampler(100, Sampling{Temperature: 1, TopP: 0.9, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			id, _ := s.Next(logits)
			ids = append(ids, id)
		}
		return ids
	}
	if !slices.Equal(draw(3), draw(3)) {
		t.Error("equal seeds give different tokens")
	}
	if slices.Equal(draw(3), draw(4)) {
		t.Error("the seed has no effect")
	}
}

func TestSamplerEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, o := range []Sampling{{}, {Temperature: 1}, {Temperature: 1, TopK: 2, TopP: 0.5, MinP: 0.1}} {
		s, err := NewSampler(3, o)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := s.Next([]float32{nan, -inf, -3}); err != nil || id != 2 {
			t.Errorf("%+v: %d, %v", o, id, err)
		}
		if id, err := s.Next([]float32{0, inf, 0}); err != nil || id != 1 {
			t.Errorf("%+v: infinite logit: %d, %v", o, id, err)
		}
		if _, err := s.Next([]float32{nan, nan, -inf}); err == nil {
			t.Errorf("%+v: a token out of nothing", o)
		}
		if _, err := s.Next(make([]float32, 2)); err == nil {
			t.Errorf("%+v: wrong vocabulary accepted", o)
		}
	}
	if s, _ := NewSampler(4, Sampling{}); s != nil {
		if id, _ := s.Next([]float32{1, 5, 5, 5}); id != 1 {
			t.Errorf("greedy takes %d among equals, want the lowest", id)
		}
	}
	for _, bad := range []Sampling{{Temperature: -1}, {Temperature: nan}, {TopK: -1}, {TopP: 1.5}, {MinP: -0.1}, {MinP: inf}, {RepeatPenalty: -2}, {RepeatWindow: -1}} {
		if _, err := NewSampler(3, bad); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	if _, err := NewSampler(0, Sampling{}); err == nil {
		t.Error("an empty vocabulary accepted")
	}
}

func TestSamplerDoesNotAllocate(t *testing.T) {
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(i*7919%997) / 100
	}
	s, err := NewSampler(len(logits), Sampling{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		if _, err := s.Next(logits); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a token", n)
	}
}

func BenchmarkSampler(b *testing.B) {
	logits := make([]float32, 128256)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range logits {
		logits[i] = float32(rng.NormFloat64() * 3)
	}
	for name, o := range map[string]Sampling{"greedy": {}, "top-k": {Temperature: 0.8, TopK: 40}, "top-p": {Temperature: 0.8, TopP: 0.95}} {
		b.Run(name, func(b *testing.B) {
			s, err := NewSampler(len(logits), o)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Next(logits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestNextOfIsNext draws from whole logits and from the list of the likeliest
// tokens that the sampler wants.
func TestNextOfIsNext(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 9))
	const vocab = 200
	for _, o := range []Sampling{{}, {Temperature: 1, TopK: 1}, {Temperature: 0.7, TopK: 7, Seed: 2}, {Temperature: 2, TopK: 60, TopP: 0.8, MinP: 0.01, Seed: 3}} {
		whole, err := NewSampler(vocab, o)
		if err != nil {
			t.Fatal(err)
		}
		listed, _ := NewSampler(vocab, o)
		for range 50 {
			logits := make([]float32, vocab)
			for i := range logits {
				logits[i] = float32(math.Round(r.NormFloat64() * 8)) // many are equal
			}
			k := int(whole.Want() - topLogits)
			ids := make([]int32, vocab)
			for i := range ids {
				ids[i] = int32(i)
			}
			slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
			var values []float32
			for _, id := range ids[:k] {
				values = append(values, logits[id])
			}
			want, err := whole.Next(logits)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := listed.NextOf(ids[:k], values); got != want || err != nil {
				t.Fatalf("%+v: %d, %v from the list, %d from all logits", o, got, err, want)
			}
		}
	}
	s, _ := NewSampler(vocab, Sampling{})
	if _, err := s.NextOf(nil, nil); !errors.Is(err, errNoToken) {
		t.Errorf("an empty list: %v", err)
	}
	if _, err := s.NextOf([]int32{vocab}, []float32{1}); err == nil {
		t.Error("a token outside the vocabulary is accepted")
	}
	if s, _ = NewSampler(vocab, Sampling{RepeatPenalty: 1.2}); s != nil {
		if _, err := s.NextOf([]int32{1}, []float32{1}); err == nil {
			t.Error("a list is accepted where a penalty needs all logits")
		}
	}
}
