package engine

import (
	"context"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/runtime"
)

// TestThousandTokens generates a thousand tokens: the second half allocates
// nothing, with guesses and without, the blocks of the cache are those that the
// text needs, and one thread and two draw the same.
func TestThousandTokens(t *testing.T) {
	const tokens = 1000
	cfg, err := bitnet158.Preset("nano")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Layers, cfg.Context = 2, tokens+8
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []graph.DType{graph.F32, graph.I8} {
		var texts [][]int32
		for _, c := range []struct{ threads, guess int }{{1, 0}, {2, 0}, {2, 6}} {
			texts = append(texts, thousandTokens(t, cfg, Shape{Cache: cache, Guess: c.guess}, c.threads, tokens))
		}
		for i := range texts[1:] {
			if !slices.Equal(texts[0], texts[i+1]) {
				t.Errorf("cache %s, run %d: other tokens than one thread draws without guesses", cache, i+1)
			}
		}
	}
}

func thousandTokens(t *testing.T, cfg checkpoint.Config, shape Shape, threads, tokens int) []int32 {
	guess := shape.Guess
	t.Helper()
	m, err := Synthetic(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	dev, _, err := auto.Open(auto.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	e := start(t, m, dev, shape)
	sampler, err := runtime.NewSampler(e.Session.Vocab(), runtime.Sampling{Temperature: 0.7, TopK: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	q, err := e.Session.Open()
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int32, 0, tokens)
	var half, end goruntime.MemStats
	// Growth is of what is still in use: garbage waits for the collector as it likes.
	measure := func(m *goruntime.MemStats) { goruntime.GC(); goruntime.ReadMemStats(m) }
	for id, err := range e.Session.Generate(context.Background(), q, []int32{1, 2, 3}, sampler) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, id); len(ids) == tokens/2 {
			measure(&half)
		}
		if len(ids) == tokens {
			break
		}
	}
	measure(&end)
	// What the system and other goroutines allocate is far below one a token; plans
	// for numbers of guesses that were not tried before may come late.
	// A cache of codes has no kernel but the reference on the portable device, and
	// references allocate.
	kernels := shape.Cache != graph.I8 || dev.Name() != "ref"
	if n := end.Mallocs - half.Mallocs; guess == 0 && kernels && n > 50 {
		t.Errorf("%d threads: %d allocations in the last %d tokens", threads, n, tokens/2)
	}
	if grown := int(end.HeapAlloc) - int(half.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d threads, %d guesses: the heap grew by %d bytes in the last %d tokens", threads, guess, grown, tokens/2)
	}
	blocks, size := e.Session.Blocks(), e.Session.Positions()
	if held := blocks - e.Session.FreeBlocks(); held > (e.Session.Len(q)+guess+size)/size {
		t.Errorf("%d blocks of %d positions for %d tokens", held, size, e.Session.Len(q))
	}
	return ids
}
