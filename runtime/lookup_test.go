package runtime

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLookup compares with a search through the whole text.
func TestLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLookup(400)
	ids, chance := make([]int32, 9), make([]float64, 9)
	for range 20 {
		l.reset()
		for len(l.text) < 400 {
			if rng.IntN(40) == 0 {
				l.truncate(rng.IntN(len(l.text) + 1))
			}
			l.add(int32(rng.IntN(3)), true)
			n := l.guess(ids, chance)
			if n == 0 {
				continue
			}
			at := len(l.text)
			if !slices.Equal(l.text[l.at-l.match:l.at], l.text[at-l.match:]) || l.match < shortRun {
				t.Fatalf("what was before the guess (%d at %d) is not the end of %v", l.match, l.at, l.text)
			}
			long := append(slices.Clone(l.text), ids[:n]...)
			for i := range n {
				if ids[i] != long[l.at+i] {
					t.Fatalf("guess %d is %d, want %d", i, ids[i], long[l.at+i])
				}
				if p := chance[i]; p < 0 || p > 1 || i > 0 && p > chance[i-1] {
					t.Fatalf("chances %v do not fall", chance)
				}
			}
		}
	}
	// A period is found and goes on.
	l.reset()
	for i := range 10 {
		l.add(int32(i%2), false)
	}
	if n := l.guess(ids, chance); n != 9 || !slices.Equal(ids, []int32{0, 1, 0, 1, 0, 1, 0, 1, 0}) {
		t.Errorf("a text of period 2 goes on with %v", ids[:n])
	}
	// What does not repeat suggests nothing.
	l.reset()
	for i := range int32(400) {
		l.add(i, true)
	}
	if n := l.guess(ids, chance); n != 0 {
		t.Errorf("different tokens suggest %v", ids[:n])
	}
}

// TestLookupMeasures checks that wrong guesses are soon held for unlikely, also
// those that nobody asked for, and right ones for likely.
func TestLookupMeasures(t *testing.T) {
	l := newLookup(4000)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		// Two tokens that came before, then one that no one can know.
		for _, id := range []int32{1, 2, int32(3 + rng.IntN(1000))} {
			l.add(id, true)
		}
	}
	if p := l.right[bucket(2)]; p > 0.05 {
		t.Errorf("the chance after 1000 wrong guesses is %.2f", p)
	}
	l.reset()
	for range 100 {
		for id := range int32(40) {
			l.add(id, true)
		}
	}
	if p := l.right[bucket(mostRun)]; p < 0.99 {
		t.Errorf("the chance after 4000 right guesses is %.2f", p)
	}
}

// TestWorth checks what a session makes of what it measured.
func TestWorth(t *testing.T) {
	guesses := func(p float64, n int) *speculation {
		sp := &speculation{}
		for i, c := 0, p; i < n; i, c = i+1, c*p {
			sp.cand = append(sp.cand, candidateGuess{0, c})
		}
		return sp
	}
	costs := func(sp *speculation, share float64) {
		sp.cost.init(9)
		for n := 1; n < 10; n++ {
			sp.cost.record(n, time.Duration(1e6*(1+share*float64(n-1))))
		}
	}
	for _, c := range []struct {
		p, share  float64
		low, high int
	}{
		{0.9, 0.02, 8, 8}, // nearly free and nearly sure
		{0.9, 1, 0, 0},    // a token more costs a step more: never
		{0.02, 0.1, 0, 0}, // hardly ever right
		{0.5, 0.2, 1, 3},  // in between
	} {
		sp := guesses(c.p, 8)
		costs(sp, c.share)
		if n := sp.worth(1, 8); n < c.low || n > c.high {
			t.Errorf("chance %.2f, cost %.2f: %d guesses, want %d to %d", c.p, c.share, n, c.low, c.high)
		}
	}
	// A slow step of eight tokens is tried once and left alone until it is old.
	sp := guesses(0.9, 8)
	sp.cost.init(9)
	sp.cost.record(1, 1e6)
	if n := sp.worth(1, 8); n != 8 {
		t.Errorf("nothing is known: %d guesses, want all", n)
	}
	for n := 2; n < 10; n++ {
		sp.cost.record(n, time.Duration(n)*1e6)
	}
	if n := sp.worth(1, 8); n != 0 {
		t.Errorf("steps cost as much as they bring: %d guesses", n)
	}
	for range costAge {
		sp.cost.record(1, 1e6)
	}
	if n := sp.worth(1, 8); n == 0 {
		t.Error("old measurements are not repeated")
	}
}
