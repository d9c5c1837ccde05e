package train_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/train"
)

// runRanks trains or resumes on n ranks, each with a device of its own. stop, if
// not 0, cancels the context of the last rank at that step: all stop.
func runRanks(t *testing.T, n, stop int, c curve, start func(change func(*train.Config)) (*train.Trainer, error)) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	var mu sync.Mutex
	cancels := make([]context.CancelFunc, n)
	ctxs := make([]context.Context, n)
	for i := range n {
		ctxs[i], cancels[i] = context.WithCancel(t.Context())
		defer cancels[i]()
	}
	for i, comm := range inprocess.Group(n) {
		wg.Go(func() {
			dev := ref.Device(ref.Options{Threads: 1})
			defer dev.Close()
			tr, err := start(func(cfg *train.Config) {
				cfg.Device = dev
				if n > 1 {
					cfg.Scale.Ranks = comm
				}
			})
			if err == nil {
				err = tr.Run(ctxs[i], func(e train.Event) {
					mu.Lock()
					defer mu.Unlock()
					if i > 0 && e.Kind != train.Warned {
						t.Errorf("rank %d reports %v", i, e)
					}
					if e.Kind == train.Warned {
						t.Error(e)
					}
					c.add(e)
					if e.Kind == train.Stepped && e.Step == stop {
						cancels[n-1]()
					}
				})
			}
			if stop > 0 && errors.Is(err, context.Canceled) {
				err = nil
			}
			if errs[i] = err; err != nil {
				comm.Leave()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestRanks: a run on four ranks with moments in parts, stopped on one rank and
// resumed by one process with four micro-batches, gives the losses, validations
// and weights of a run that was never on ranks.
func TestRanks(t *testing.T) {
	data := texts(t)
	config := func(dir string, accumulate int) train.Config {
		c := tiny(dir, data, nil)
		c.Rows, c.Window, c.Scale.Accumulate = 4, 16, accumulate
		c.Optimizer.Clip = 0 // so that the order in which a norm is added up does not matter
		c.Optimizer.EMA = 0.9
		c.CheckFinite = true
		return c
	}
	fresh := func(c train.Config) func(func(*train.Config)) (*train.Trainer, error) {
		return func(change func(*train.Config)) (*train.Trainer, error) {
			c := c
			change(&c)
			return train.New(c)
		}
	}
	resumed := func(dir string, accumulate int, shard bool) func(func(*train.Config)) (*train.Trainer, error) {
		return func(change func(*train.Config)) (*train.Trainer, error) {
			return train.Resume(dir, func(c *train.Config) {
				c.Scale.Accumulate, c.Scale.Shard = accumulate, shard
				change(c)
			})
		}
	}
	whole, ranks := newCurve(), newCurve()
	wholeDir, dir := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "ranks")
	runRanks(t, 1, 0, whole, fresh(config(wholeDir, 4)))
	c := config(dir, 0)
	c.Scale.Shard = true
	runRanks(t, 4, 3, ranks, fresh(c))
	runRanks(t, 4, 7, ranks, resumed(dir, 0, false))
	runRanks(t, 1, 9, ranks, resumed(dir, 4, false))
	runRanks(t, 4, 0, ranks, resumed(dir, 1, true))
	for step, v := range whole.Valid { // a stop right after a step may skip its validation
		if got, ok := ranks.Valid[step]; ok && got != v {
			t.Errorf("validation %+v, want %+v", got, v)
		}
	}
	if len(ranks.Valid) == 0 {
		t.Error("the ranks never validated")
	}
	if d := cmp.Diff(whole.Loss, ranks.Loss); d != "" || len(whole.Loss) != 12 {
		t.Errorf("losses: %s", d)
	}
	if d := cmp.Diff(tensors(t, wholeDir), tensors(t, dir)); d != "" {
		t.Errorf("final weights differ: %.300s", d)
	}
	// The ranks' checkpoint holds each part of the moments once.
	parts, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-00000012", "optimizer-rank-*-of-00004.safetensors"))
	if err != nil || len(parts) != 4 {
		t.Errorf("%d files of moments, %v", len(parts), err)
	}
}

// TestRanksMustBeAlike: ranks with different configurations do not begin.
func TestRanksMustBeAlike(t *testing.T) {
	data, dir := texts(t), filepath.Join(t.TempDir(), "run")
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, comm := range inprocess.Group(2) {
		wg.Go(func() {
			dev := ref.Device(ref.Options{Threads: 1})
			defer dev.Close()
			c := tiny(dir, data, dev)
			c.Scale.Ranks, c.Seed = comm, uint64(i)
			tr, err := train.New(c)
			if err == nil {
				err = tr.Run(t.Context(), nil)
			}
			errs[i] = err
			comm.Leave()
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "rank 1 has another configuration than rank 0") {
			t.Errorf("%v", err)
		}
	}
}
