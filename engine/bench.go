package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trit-ml/trit/runtime"
)

// Test is one speed measurement: Depth tokens are in the cache already, then
// Tokens more are processed, all in one go (prefill) or one at a time (decode),
// for Batch sequences at once.
type Test struct {
	Name   string `json:"test"` // "pp128", "tg32 @ d1024", "tg32 × 16"
	Decode bool   `json:"decode"`
	Tokens int    `json:"tokens"`
	Depth  int    `json:"depth"`
	Batch  int    `json:"batch"`
}

// Prefill measures prompts of n tokens.
func Prefill(n int) Test { return Test{Name: fmt.Sprintf("pp%d", n), Tokens: n, Batch: 1} }

// Decode measures n tokens, one at a time, after depth tokens, for batch
// sequences.
func Decode(n, depth, batch int) Test {
	t := Test{Name: fmt.Sprintf("tg%d", n), Decode: true, Tokens: n, Depth: depth, Batch: batch}
	if depth > 0 {
		t.Name += fmt.Sprintf(" @ d%d", depth)
	}
	if batch > 1 {
		t.Name += fmt.Sprintf(" × %d", batch)
	}
	return t
}

// Positions is the context that the test needs.
func (t Test) Positions() int { return t.Depth + t.Tokens + 1 }

// Measured is a test's result: the rate of each run, in tokens per second over
// all sequences.
type Measured struct {
	Test
	Rates  []float64 `json:"rates"`
	Median float64   `json:"tokens_per_second"`
	// Read is what a decoded token reads: weights, shared by the batch, as far as
	// the last step did not skip them, and its own share of the cache.
	Read int `json:"bytes_per_token,omitempty"`
	// MACs is the multiplications of ternary weights that a token needs.
	MACs int `json:"macs_per_token,omitempty"`
}

// BenchShape is what an engine needs to measure the tests.
func BenchShape(tests []Test) Shape {
	s := Shape{Seqs: 1}
	depths := map[int]bool{}
	for _, t := range tests {
		s.Context = max(s.Context, t.Positions())
		s.Seqs = max(s.Seqs, t.Batch)
		if t.Depth > 0 {
			depths[t.Depth] = true
		}
	}
	s.Seqs += len(depths) // each is kept in a sequence of its own
	return s
}

// Measure runs a test several times; one run before them warms up.
func (e *Engine) Measure(ctx context.Context, t Test, runs int) (Measured, error) {
	m := Measured{Test: t}
	if _, err := e.measure(ctx, t); err != nil {
		return m, fmt.Errorf("%s: %w", t.Name, err)
	}
	for range runs {
		if err := e.Again(ctx, &m); err != nil {
			return m, err
		}
	}
	return m, nil
}

// Again adds one run to a result, so that tests, or engines, can take turns.
func (e *Engine) Again(ctx context.Context, m *Measured) error {
	d, err := e.measure(ctx, m.Test)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if m.Decode {
		mem, err := e.Program.Memory(e.Session.Run().Syms()...)
		if err != nil {
			return err
		}
		m.Read = (mem.Read-e.Session.Run().Skipped())/m.Batch + e.cacheBytes(mem, m.Depth+m.Tokens/2)
	}
	m.MACs = 0
	for _, spec := range e.Model.Config.Specs() {
		if spec.Linear {
			m.MACs += spec.Dims[0] * spec.Dims[1]
		}
	}
	m.Rates = append(m.Rates, float64(m.Tokens*m.Batch)/d.Seconds())
	m.Median = Median(m.Rates)
	return nil
}

// cacheBytes is what attention to so many positions reads.
func (e *Engine) cacheBytes(mem runtime.Memory, positions int) int {
	held := e.Session.Blocks() * e.Session.Positions()
	return int(float64(mem.States) / float64(max(held, 1)) * float64(positions))
}

// Median of the rates; 0 of none.
func Median(rates []float64) float64 {
	sorted := slices.Sorted(slices.Values(rates))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// measure runs a test once. The tokens before it are read once for all tests of
// that depth and stay in the cache, where each run copies what it needs.
func (e *Engine) measure(ctx context.Context, t Test) (time.Duration, error) {
	s := e.Session
	var seqs []runtime.Seq
	defer func() {
		for _, q := range seqs {
			s.End(q)
		}
	}()
	for range t.Batch {
		q, err := e.begun(ctx, t.Depth)
		if err != nil {
			return 0, err
		}
		seqs = append(seqs, q)
	}
	if e.greedy == nil {
		var err error
		if e.greedy, err = runtime.NewSampler(s.Vocab(), runtime.Sampling{}); err != nil {
			return 0, err
		}
	}
	for _, q := range seqs {
		if err := s.Sample(q, e.greedy); err != nil {
			return 0, err
		}
	}
	want := runtime.Top(1) // whole heads give all logits anyway
	if err := s.Settle(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if !t.Decode {
		for _, q := range seqs {
			if err := s.Feed(q, want, e.benchTokens(t.Tokens)...); err != nil {
				return 0, err
			}
		}
		err := e.drain(ctx)
		return time.Since(began), err
	}
	for i := range t.Tokens {
		for j, q := range seqs {
			// The next token depends on the last logits, as it would in use. Sequences
			// begin with different ones, or all would compute the same.
			id := benchToken(i+j, s.Vocab())
			if s.Ready(q) && (i > 0 || j == 0) {
				var err error
				if id, err = e.greedy.Draw(s, q); err != nil {
					return 0, err
				}
			}
			if err := s.Feed(q, want, id); err != nil {
				return 0, err
			}
		}
		if err := e.drain(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// begun opens a sequence that has read depth tokens.
func (e *Engine) begun(ctx context.Context, depth int) (runtime.Seq, error) {
	if depth == 0 {
		return e.Session.Open()
	}
	q, ok := e.begins[depth]
	if !ok {
		var err error
		if q, err = e.Session.Open(); err != nil {
			return 0, err
		}
		if err = e.Session.Feed(q, runtime.NoLogits, e.benchTokens(depth)...); err == nil {
			err = e.drain(ctx)
		}
		if err != nil {
			return 0, errors.Join(err, e.Session.End(q))
		}
		if e.begins == nil {
			e.begins = map[int]runtime.Seq{}
		}
		e.begins[depth] = q
	}
	return e.Session.Fork(q)
}

// drain steps until nothing waits.
func (e *Engine) drain(ctx context.Context) error {
	for {
		more, err := e.Session.Step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// benchTokens are n tokens to measure with.
func (e *Engine) benchTokens(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = benchToken(i, e.Session.Vocab())
	}
	return ids
}

func benchToken(i, vocab int) int32 { return int32((uint64(i)*2654435761 + 12345) % uint64(vocab)) }
