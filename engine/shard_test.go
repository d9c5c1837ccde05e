package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/runtime"
)

// shardedRun feeds two sequences, one of which is forked and taken back, in steps
// of several sizes and returns the bits of all logits.
func shardedRun(t *testing.T, devices string, guess int, cache graph.DType) (logits []uint32, e *Engine) {
	t.Helper()
	cfg, err := bitnet158.Preset("nano")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Layers, cfg.Context = 2, 64
	m, err := Synthetic(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	dev, _, err := auto.Open(auto.Options{Name: devices, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	e, err = m.Start(t.Context(), dev, Shape{Context: 64, Seqs: 3, Chunk: 8, Block: 4, Guess: guess, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	s := e.Session
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	step := func(qs ...runtime.Seq) {
		t.Helper()
		for more := true; more; {
			var err error
			more, err = s.Step(t.Context())
			must(err)
		}
		for _, q := range qs {
			for _, v := range s.Logits(q) {
				logits = append(logits, math.Float32bits(v))
			}
		}
	}
	a, err := s.Open()
	must(err)
	must(s.Feed(a, runtime.LastLogits, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
	step(a)
	b, err := s.Fork(a)
	must(err)
	for i := range int32(6) {
		must(errors.Join(s.Feed(a, runtime.LastLogits, 20+i), s.Feed(b, runtime.LastLogits, 40+3*i)))
		step(a, b)
	}
	must(s.Truncate(b, 5))
	must(s.Feed(b, runtime.LastLogits, 7, 7, 7))
	step(b)
	return logits, e
}

// TestShardedLogits: a model that devices share has the logits of one device, bit
// by bit, where heads can be shared and where they are too few.
func TestShardedLogits(t *testing.T) {
	want, e := shardedRun(t, "auto", 0, graph.F32)
	whole, err := e.Program.Memory(8, 1)
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		devices string
		guess   int
	}{{"auto,auto", 0}, {"auto,auto,auto,auto", 0}, {"auto,auto", 4}} {
		got, e := shardedRun(t, tt.devices, tt.guess, graph.F32)
		if !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s, %d guesses: other logits than one device", tt.devices, tt.guess)
		}
		if part, err := e.Program.Memory(8, 1); err == nil && part.Weights >= whole.Weights {
			t.Errorf("%s: a rank holds %d bytes of weights, one device %d", tt.devices, part.Weights, whole.Weights)
		}
		if _, err := e.Session.Run().Profile(t.Context(), e.Session.Run().Syms()...); err != nil {
			t.Errorf("%s: profile: %v", tt.devices, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestShardedCodes is TestShardedLogits with codes in the cache.
func TestShardedCodes(t *testing.T) {
	var bits [2][]uint32
	for i, devices := range []string{"auto", "auto,auto"} {
		var e *Engine
		bits[i], e = shardedRun(t, devices, 0, graph.I8)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(bits[0], bits[1]) {
		t.Error("other logits than one device")
	}
}

// TestShardedGPUs is TestShardedLogits on two GPUs, whose fused kernels round in
// other places than their parts: sharded graphs have less to fuse.
func TestShardedGPUs(t *testing.T) {
	names, _, err := auto.Accelerators()
	if err == nil && len(names) < 2 {
		err = fmt.Errorf("%d GPUs", len(names))
	}
	if err != nil {
		t.Skip(err)
	}
	want, e := shardedRun(t, names[0], 0, graph.F16)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	got, e := shardedRun(t, strings.Join(names[:2], ","), 4, graph.F16)
	defer e.Close()
	most, apart := 0.0, 0.0
	for i, w := range want {
		w, g := float64(math.Float32frombits(w)), float64(math.Float32frombits(got[i]))
		most, apart = max(most, math.Abs(w)), max(apart, math.Abs(w-g))
	}
	if !(apart <= 1e-5*most) || most == 0 {
		t.Errorf("logits of up to %g differ by up to %g from those of one GPU", most, apart)
	}
}

// TestShardedDraws: GPUs that share a model with a screened head, which draw tokens
// themselves, give the text of one.
func TestShardedDraws(t *testing.T) {
	names, _, err := auto.Accelerators()
	if err == nil && len(names) < 2 {
		err = fmt.Errorf("%d GPUs", len(names))
	}
	if err != nil {
		t.Skip(err)
	}
	cfg, err := bitnet158.Preset("nano")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Layers, cfg.Context, cfg.Vocab, cfg.Elem = 1, 32, 8192, graph.BF16
	m, err := Synthetic(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	var texts [2][]int32
	for i, devices := range []string{names[0], strings.Join(names[:2], ",")} {
		dev, _, err := auto.Open(auto.Options{Name: devices})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		e, err := m.Start(t.Context(), dev, Shape{Context: 32, Seqs: 1, Chunk: 8, Block: 4})
		if err != nil {
			t.Fatalf("%s: %v", devices, err)
		}
		defer e.Close()
		sampler, err := runtime.NewSampler(e.Session.Vocab(), runtime.Sampling{Temperature: 1, TopK: 8, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		q, err := e.Session.Open()
		if err != nil {
			t.Fatal(err)
		}
		for id, err := range e.Session.Generate(t.Context(), q, []int32{3, 1, 4}, sampler) {
			if err != nil {
				t.Fatalf("%s: %v", devices, err)
			}
			if texts[i] = append(texts[i], id); len(texts[i]) == 12 {
				break
			}
		}
	}
	if !slices.Equal(texts[0], texts[1]) {
		t.Errorf("one GPU draws %v, two draw %v", texts[0], texts[1])
	}
}

// TestShardedStops: a cancelled context stops all ranks before a step, and they go
// on; a rank that fails stops them for good, with its error.
func TestShardedStops(t *testing.T) {
	_, e := shardedRun(t, "auto,auto", 0, graph.F32)
	defer e.Close()
	s := e.Session
	q, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Feed(q, runtime.LastLogits, 1, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled step: %v", err)
	}
	if _, err := s.Step(t.Context()); err != nil || len(s.Logits(q)) == 0 {
		t.Errorf("step after a cancelled one: %v", err)
	}
	e.ranks[1].comm.Leave()
	if err := s.Feed(q, runtime.LastLogits, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "another rank has left") {
		t.Errorf("step without a rank: %v", err)
	}
}
