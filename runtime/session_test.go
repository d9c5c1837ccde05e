package runtime_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

var published = []string{"pub_a_gqa2_tied_bf16", "pub_b_gqa4_odd_untied_bf16", "pub_c_mqa4_untied_f32", "pub_d_k256_tied_bf16"}

func refDevice(t testing.TB, threads int) devices.Device {
	d := ref.Device(ref.Options{Threads: threads})
	t.Cleanup(func() { d.Close() })
	return d
}

// session opens a checkpoint and lowers it onto dev.
func session(t testing.TB, dir string, dev devices.Device, cache passes.Cache, maxTokens, maxRows int) *runtime.Session {
	t.Helper()
	m, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := bitnet158.NewWeights(m)
	g, err := bitnet158.Forward(m.Config(), maxTokens)
	if err == nil {
		g, err = passes.Infer(passes.InferOptions{Cache: cache, MaxRows: maxRows, Packed: w.Packed}).Run(g, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(g, dev)
	if err == nil {
		err = p.Load(t.Context(), w)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), p.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func small(t testing.TB, maxTokens, maxRows int, cache passes.Cache) *runtime.Session {
	return session(t, filepath.Join(golden.Path(t, published[0]), "offline"), refDevice(t, 2), cache, maxTokens, maxRows)
}

func open(t testing.TB, s *runtime.Session) runtime.Seq {
	t.Helper()
	q, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// drain steps until nothing waits.
func drain(t testing.TB, s *runtime.Session) {
	t.Helper()
	for {
		more, err := s.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

func feed(t testing.TB, s *runtime.Session, q runtime.Seq, want runtime.Want, ids ...int32) {
	t.Helper()
	if err := s.Feed(q, want, ids...); err != nil {
		t.Fatal(err)
	}
}

func tensor(t testing.TB, f *safetensors.File, name string) graph.Tensor {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestSessionOnPublishedModels compares logits with the float64 references and
// continues the reference prompts.
func TestSessionOnPublishedModels(t *testing.T) {
	for _, name := range published {
		dir := golden.Path(t, name)
		ref, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Close()
		for _, form := range []string{"online", "offline"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				s := session(t, filepath.Join(dir, form), refDevice(t, 2), passes.NewCache(2, 64, 4, graph.F32), 16, 16)
				q := open(t, s)
				ids := tensor(t, ref, "strict.ids").I32()
				feed(t, s, q, runtime.AllLogits, ids...)
				drain(t, s)
				want := tensor(t, ref, "strict.f64."+form+".logits")
				n, got := s.Rows(q)
				if n != len(ids) || len(got) != want.Len() {
					t.Fatalf("%d rows, %d logits; want %d, %d", n, len(got), len(ids), want.Len())
				}
				worst := 0.0
				for i, v := range got {
					worst = max(worst, math.Abs(float64(v)-want.FloatAt(i)))
				}
				if worst > 1e-4 {
					t.Errorf("logits differ by %.3g", worst)
				}
				if err := s.End(q); err != nil {
					t.Fatal(err)
				}
				sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{})
				if err != nil {
					t.Fatal(err)
				}
				tokens := tensor(t, ref, "greedy.f32."+form+".tokens").I32()
				var drawn []int32
				for id, err := range s.Generate(t.Context(), open(t, s), tensor(t, ref, "greedy.prompt").I32(), sampler) {
					if err != nil {
						t.Fatal(err)
					}
					if drawn = append(drawn, id); len(drawn) == len(tokens) {
						break
					}
				}
				if !slices.Equal(drawn, tokens) {
					t.Errorf("greedy continuation\n%v, want\n%v", drawn, tokens)
				}
			})
		}
	}
}

// alone returns the logits of the last of the given tokens, computed by a
// session that sees nothing else.
func alone(t testing.TB, s *runtime.Session, ids []int32) []float32 {
	t.Helper()
	q := open(t, s)
	feed(t, s, q, runtime.LastLogits, ids...)
	drain(t, s)
	got := slices.Clone(s.Logits(q))
	if err := s.End(q); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestSessionBitsDoNotDependOnTheBatch drives 64 sequences at random (feeding
// pieces, forking, truncating, ending) and compares logits, bit for bit, with
// those of the same tokens alone in one step on another thread count.
func TestSessionBitsDoNotDependOnTheBatch(t *testing.T) {
	dir := filepath.Join(golden.Path(t, published[2]), "offline")
	s := session(t, dir, refDevice(t, 2), passes.Cache{Seqs: 64, Blocks: 300, PerSeq: 8, Size: 3, Elem: graph.F32}, 48, 40)
	oracle := session(t, dir, refDevice(t, 1), passes.NewCache(1, 24, 5, graph.F32), 24, 1)
	rng := rand.New(rand.NewPCG(5, 5))
	type live struct {
		q   runtime.Seq
		ids []int32
		fed int
	}
	var all []*live
	token := func() int32 { return int32(rng.IntN(s.Vocab())) }
	compared := 0
	for range 60 {
		for range 1 + rng.IntN(12) {
			switch {
			case len(all) < 64 && rng.IntN(3) > 0:
				all = append(all, &live{q: open(t, s)})
			case len(all) > 0 && len(all) < 64 && rng.IntN(2) == 0:
				from := all[rng.IntN(len(all))]
				q, err := s.Fork(from.q)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, &live{q: q, ids: slices.Clone(from.ids[:s.Len(from.q)])})
			case len(all) > 0 && rng.IntN(4) == 0:
				i := rng.IntN(len(all))
				if err := s.End(all[i].q); err != nil {
					t.Fatal(err)
				}
				all = slices.Delete(all, i, i+1)
			case len(all) > 0:
				x := all[rng.IntN(len(all))]
				n := rng.IntN(s.Len(x.q) + 1)
				if err := s.Truncate(x.q, n); err != nil {
					t.Fatal(err)
				}
				x.ids = x.ids[:n]
			}
		}
		for _, x := range all {
			if n := min(rng.IntN(9), s.Context()-len(x.ids)); n > 0 && rng.IntN(2) == 0 {
				for range n {
					id := token()
					x.ids = append(x.ids, id)
					feed(t, s, x.q, runtime.LastLogits, id)
				}
			}
		}
		for range 1 + rng.IntN(3) {
			if _, err := s.Step(t.Context()); err != nil && !errors.Is(err, runtime.ErrCacheFull) {
				t.Fatal(err)
			}
			for _, x := range all {
				if got := s.Logits(x.q); got != nil && rng.IntN(8) == 0 {
					if want := alone(t, oracle, x.ids); !slices.Equal(got, want) {
						t.Fatalf("sequence %d of %d tokens: logits differ", x.q, len(x.ids))
					}
					compared++
				}
			}
		}
	}
	for _, x := range all {
		if err := s.End(x.q); err != nil {
			t.Fatal(err)
		}
	}
	if s.FreeBlocks() != 300 {
		t.Errorf("%d blocks are free at the end, want 300", s.FreeBlocks())
	}
	if compared < 50 {
		t.Errorf("only %d comparisons", compared)
	}
}

func TestSessionLimits(t *testing.T) {
	s := small(t, 8, 2, passes.Cache{Seqs: 3, Blocks: 4, PerSeq: 4, Size: 2, Elem: graph.F32})
	if s.Context() != 8 {
		t.Errorf("context %d, want 8", s.Context())
	}
	a := open(t, s)
	for _, bad := range [][]int32{{-1}, {int32(s.Vocab())}, make([]int32, 9)} {
		if s.Feed(a, runtime.LastLogits, bad...) == nil {
			t.Errorf("%v accepted", bad)
		}
	}
	if s.Feed(7, runtime.LastLogits, 1) == nil || s.Feed(-1, runtime.LastLogits, 1) == nil || s.End(2) == nil || s.Truncate(a, 1) == nil {
		t.Error("a sequence that is not there was used")
	}
	if more, err := s.Step(t.Context()); more || err != nil || s.Logits(a) != nil {
		t.Errorf("an empty step: %v, %v", more, err)
	}
	// Two rows a step: all logits of five tokens take three steps.
	feed(t, s, a, runtime.AllLogits, 1, 2, 3, 4, 5)
	for step, want := range []int{2, 2, 1} {
		more, err := s.Step(t.Context())
		if n, _ := s.Rows(a); err != nil || n != want || more != (step < 2) {
			t.Errorf("step %d: %d rows, more %v, %v; want %d rows", step, n, more, err, want)
		}
	}
	// A fork shares until it writes; then the cache is too small.
	b, err := s.Fork(a)
	if err != nil || s.FreeBlocks() != 1 {
		t.Fatalf("fork: %v, %d blocks free", err, s.FreeBlocks())
	}
	feed(t, s, a, runtime.LastLogits, 6)
	drain(t, s)
	if s.FreeBlocks() != 0 {
		t.Errorf("%d blocks free after a write into a shared block, want 0", s.FreeBlocks())
	}
	feed(t, s, b, runtime.NoLogits, 6, 7)
	if _, err := s.Step(t.Context()); err != nil || s.Pending(b) != 1 {
		t.Errorf("the part that fits: %v, %d waiting", err, s.Pending(b))
	}
	if _, err := s.Step(t.Context()); !errors.Is(err, runtime.ErrCacheFull) || s.Pending(b) != 1 || s.Len(b) != 6 {
		t.Errorf("full cache: %v, %d waiting, %d run", err, s.Pending(b), s.Len(b))
	}
	if err := s.End(a); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	if s.Len(b) != 7 || s.Logits(b) != nil {
		t.Errorf("after room was made: %d tokens, logits %v", s.Len(b), s.Logits(b) != nil)
	}
	for range 2 {
		open(t, s)
	}
	if _, err := s.Open(); err == nil {
		t.Error("a fourth sequence of three")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	feed(t, s, b, runtime.LastLogits, 8)
	if _, err := s.Step(ctx); !errors.Is(err, context.Canceled) || s.Pending(b) != 1 {
		t.Errorf("cancelled: %v", err)
	}
}

func TestGenerateEndsAtTheContext(t *testing.T) {
	s := small(t, 8, 2, passes.NewCache(1, 8, 4, graph.F32))
	sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range s.Generate(t.Context(), open(t, s), []int32{1, 2, 3}, sampler) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6 { // five more fit; the sixth is drawn but cannot be run
		t.Errorf("%d tokens, want 6", n)
	}
	for _, err := range s.Generate(t.Context(), 0, nil, sampler) {
		if err != nil {
			t.Errorf("continuing from the last logits: %v", err)
		}
		break
	}
	if err := s.Truncate(0, 0); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Generate(t.Context(), 0, nil, sampler) {
		if err == nil || !strings.Contains(err.Error(), "feed it a token") {
			t.Errorf("an empty prompt: %v", err)
		}
	}
}

func TestSessionNeedsTheConvention(t *testing.T) {
	m, err := checkpoint.Open(filepath.Join(golden.Path(t, published[0]), "offline"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g, err := bitnet158.Forward(m.Config(), 8)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(g, refDevice(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.NewSession(p); err == nil || !strings.Contains(err.Error(), `no input "table"`) {
		t.Errorf("error %v", err)
	}
}

// Whole steps allocate nothing: batching, sampling, kernels.
func TestSessionStepDoesNotAllocate(t *testing.T) {
	s := small(t, 8, 4, passes.NewCache(3, 64, 8, graph.F16))
	sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{Temperature: 0.8, TopK: 20, TopP: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	a, b := open(t, s), open(t, s)
	ctx := t.Context()
	step := func() {
		for _, q := range [...]runtime.Seq{a, b} {
			id := int32(1)
			if l := s.Logits(q); l != nil {
				if id, err = sampler.Next(l); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Feed(q, runtime.LastLogits, id); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
