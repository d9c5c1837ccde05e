package runtime_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// repetitive is a prompt of phrases that come again, so that there is something
// to guess.
func repetitive(rng *rand.Rand, n, vocab int) []int32 {
	phrases := make([][]int32, 3)
	for i := range phrases {
		for range 3 + rng.IntN(6) {
			phrases[i] = append(phrases[i], int32(rng.IntN(vocab)))
		}
	}
	var ids []int32
	for len(ids) < n {
		ids = append(ids, phrases[rng.IntN(len(phrases))]...)
	}
	return ids[:n]
}

// TestSpeculationLeavesNoTrace generates with and without guesses: tokens, the
// keys and values in the cache and the logits that follow are the same, whatever
// is drawn, and blocks are not lost.
func TestSpeculationLeavesNoTrace(t *testing.T) {
	const context, block = 96, 4
	dir := filepath.Join(golden.Path(t, published[1]), "offline")
	cache := passes.NewCache(1, context, block, graph.F32)
	plain := session(t, dir, refDevice(t, 1), cache, 24, 16)
	for _, spec := range []runtime.Speculation{{Tokens: 1, Always: true}, {Tokens: 7, Always: true}, {Tokens: 7}, {Tokens: 40, Always: true}} {
		fast := session(t, dir, refDevice(t, 2), cache, 24, 16)
		if err := fast.Speculate(spec); err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, 1))
			prompt := repetitive(rng, 5+rng.IntN(40), plain.Vocab())
			o := []runtime.Sampling{{}, {Temperature: 0.3, Seed: seed}, {Temperature: 1, TopK: 5, Seed: seed}, {RepeatPenalty: 1.2}}[seed%4]
			most := 10 + rng.IntN(60)
			var drawn [2][]int32
			for i, s := range []*runtime.Session{plain, fast} {
				sampler, err := runtime.NewSampler(s.Vocab(), o)
				if err != nil {
					t.Fatal(err)
				}
				q := open(t, s)
				for id, err := range s.Generate(t.Context(), q, prompt, sampler) {
					if err != nil {
						t.Fatal(err)
					}
					if drawn[i] = append(drawn[i], id); len(drawn[i]) == most {
						break
					}
				}
			}
			if !slices.Equal(drawn[0], drawn[1]) {
				t.Fatalf("%+v, %+v: drawn\n%v, want\n%v", spec, o, drawn[1], drawn[0])
			}
			// The token drawn last has not run.
			n := plain.Len(0)
			if fast.Len(0) != n || n != len(prompt)+len(drawn[0])-1 {
				t.Fatalf("%+v: %d tokens have run, without guesses %d", spec, fast.Len(0), n)
			}
			for _, state := range plain.Run().Program().States() {
				name := graph.SourceName(state)
				a, err := plain.Run().ReadState(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				b, err := fast.Run().ReadState(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				// One sequence takes the blocks in order.
				held := n * len(a.Data) / (a.Dims[0] * a.Dims[1])
				if !bytes.Equal(a.Data[:held], b.Data[:held]) {
					t.Fatalf("%+v: %s differs", spec, name)
				}
			}
			for i, s := range []*runtime.Session{plain, fast} {
				if n < context {
					feed(t, s, 0, runtime.LastLogits, drawn[i][len(drawn[i])-1])
					drain(t, s)
				}
			}
			if !slices.Equal(plain.Logits(0), fast.Logits(0)) {
				t.Fatalf("%+v: the next logits differ", spec)
			}
			for _, s := range []*runtime.Session{plain, fast} {
				if err := s.End(0); err != nil {
					t.Fatal(err)
				}
				if s.FreeBlocks() != s.Blocks() {
					t.Fatalf("%d of %d blocks are free at the end", s.FreeBlocks(), s.Blocks())
				}
			}
		}
		run, right := fast.Guessed()
		if spec.Always && (run == 0 || right == 0 || right == run) {
			t.Errorf("%+v: %d guesses, %d right: nothing was tested", spec, run, right)
		}
	}
}

// TestSpeculationAmongOthers drives sequences that share a small cache, are cut,
// copied and ended at random, with every token they draw compared with those of
// the same sequence alone.
func TestSpeculationAmongOthers(t *testing.T) {
	dir := filepath.Join(golden.Path(t, published[2]), "offline")
	s := session(t, dir, refDevice(t, 2), passes.Cache{Seqs: 6, Blocks: 70, PerSeq: 20, Size: 3, Elem: graph.F32}, 20, 12)
	oracle := session(t, dir, refDevice(t, 1), passes.NewCache(1, 60, 5, graph.F32), 60, 1)
	if err := s.Speculate(runtime.Speculation{Tokens: 5, Always: true}); err != nil {
		t.Fatal(err)
	}
	if s.Speculate(runtime.Speculation{Tokens: -1}) == nil || s.Speculate(runtime.Speculation{Tokens: 1000}) == nil {
		t.Error("a bad number of guesses was accepted")
	}
	rng := rand.New(rand.NewPCG(8, 8))
	greedy, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{})
	if err != nil {
		t.Fatal(err)
	}
	type live struct {
		q   runtime.Seq
		ids []int32
	}
	var all []*live
	compared := 0
	for range 120 {
		switch k := rng.IntN(8); {
		case k < 3 && len(all) < 5:
			x := &live{q: open(t, s), ids: repetitive(rng, 4+rng.IntN(16), s.Vocab())}
			feed(t, s, x.q, runtime.LastLogits, x.ids...)
			all = append(all, x)
		case k == 3 && len(all) > 0 && len(all) < 5:
			from := all[rng.IntN(len(all))]
			q, err := s.Fork(from.q)
			if err != nil {
				t.Fatal(err)
			}
			n := s.Len(q)
			id := int32(rng.IntN(s.Vocab()))
			if n == s.Context() {
				if err := s.End(q); err != nil {
					t.Fatal(err)
				}
				break
			}
			feed(t, s, q, runtime.LastLogits, id)
			all = append(all, &live{q: q, ids: append(slices.Clone(from.ids[:n]), id)})
		case k == 4 && len(all) > 0:
			i := rng.IntN(len(all))
			if err := s.End(all[i].q); err != nil {
				t.Fatal(err)
			}
			all = slices.Delete(all, i, i+1)
		case k == 5 && len(all) > 0:
			x := all[rng.IntN(len(all))]
			n := rng.IntN(s.Len(x.q) + 1)
			if err := s.Truncate(x.q, n); err != nil {
				t.Fatal(err)
			}
			id := int32(rng.IntN(s.Vocab()))
			x.ids = append(x.ids[:n], id)
			feed(t, s, x.q, runtime.LastLogits, id)
		}
		if _, err := s.Step(t.Context()); err != nil && !errors.Is(err, runtime.ErrCacheFull) {
			t.Fatal(err)
		}
		for _, x := range all {
			for s.Pending(x.q) == 0 && s.Logits(x.q) != nil && s.Len(x.q) < s.Context() {
				id, err := greedy.Next(s.Logits(x.q))
				if err != nil {
					t.Fatal(err)
				}
				if rng.IntN(3) == 0 {
					if got := s.Logits(x.q); !slices.Equal(got, alone(t, oracle, x.ids)) {
						t.Fatalf("sequence %d of %d tokens: logits differ", x.q, len(x.ids))
					}
					compared++
				}
				x.ids = append(x.ids, id)
				feed(t, s, x.q, runtime.LastLogits, id)
			}
		}
	}
	for _, x := range all {
		if err := s.End(x.q); err != nil {
			t.Fatal(err)
		}
	}
	if s.FreeBlocks() != 70 {
		t.Errorf("%d blocks are free at the end, want 70", s.FreeBlocks())
	}
	if run, right := s.Guessed(); right < 20 || compared < 50 {
		t.Errorf("%d guesses, %d right, %d comparisons: too few", run, right, compared)
	}
	if q := open(t, s); s.Speculate(runtime.Speculation{}) == nil {
		t.Errorf("speculation changed while sequence %d is open", q)
	}
}
