package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/trit-ml/trit/runtime"
)

// Profile measures each kernel call of the last step of a test, in order: the
// least of several runs.
func (e *Engine) Profile(ctx context.Context, t Test, runs int) ([]runtime.Timing, error) {
	if _, err := e.measure(ctx, t); err != nil {
		return nil, err
	}
	r := e.Session.Run()
	syms := slices.Clone(r.Syms())
	var best []runtime.Timing
	for range max(runs, 1) {
		ts, err := r.Profile(ctx, syms...)
		if err != nil {
			return nil, err
		}
		if best == nil {
			best = ts
		}
		for i := range ts {
			best[i].Time = min(best[i].Time, ts[i].Time)
		}
	}
	return best, nil
}

// Share is what the calls of one kernel take together.
type Share struct {
	Kernel string
	Calls  int
	Time   time.Duration
	Read   int // bytes of weights
}

// ByKernel adds up calls of the same kernel, the longest first.
func ByKernel(ts []runtime.Timing) []Share {
	var shares []Share
	at := map[string]int{}
	for _, t := range ts {
		i, ok := at[t.Kernel]
		if !ok {
			i = len(shares)
			at[t.Kernel] = i
			shares = append(shares, Share{Kernel: t.Kernel})
		}
		s := &shares[i]
		s.Calls++
		s.Time += t.Time
		s.Read += t.Read
	}
	slices.SortStableFunc(shares, func(a, b Share) int { return cmp.Compare(b.Time, a.Time) })
	return shares
}
