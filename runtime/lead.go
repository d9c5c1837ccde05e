package runtime

import (
	"context"
	"errors"
	"fmt"
)

// follower is a run that steps when its leader does, on a goroutine of its own:
// the ranks of a program wait for each other in mid-step.
type follower struct {
	run  *Run
	key  symKey
	syms int
	step chan struct{}
	done chan error
}

// Lead makes runs of the same graph on other ranks do what r does: they get its
// inputs, step with it and are closed with it. leave is called when a rank fails
// while others may wait for it. r should not have stepped yet.
//
// A step of several ranks is not interrupted, since all would have to stop at the
// same call: its context is looked at before.
func (r *Run) Lead(leave func(), others ...*Run) error {
	for _, o := range others {
		if len(o.in) != len(r.in) || len(o.p.syms) != len(r.p.syms) || len(o.states) != len(r.states) {
			return fmt.Errorf("lead runs of %s: one is of another graph, %s", r.p.g.Name, o.p.g.Name)
		}
	}
	r.leave = leave
	for _, o := range others {
		copy(o.in, r.in)
		f := &follower{run: o, step: make(chan struct{}), done: make(chan error)}
		r.followers = append(r.followers, f)
		go func() {
			for range f.step {
				f.done <- f.run.Step(context.Background(), f.key[:f.syms]...)
			}
		}()
	}
	return nil
}

// together runs step, which runs r's part of a step, while the followers run
// theirs.
func (r *Run) together(ctx context.Context, syms []int, step func(ctx context.Context) error) error {
	if len(r.followers) == 0 {
		return step(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(syms) != len(r.p.syms) {
		return fmt.Errorf("graph %s: a step needs values for %d symbols, got %d", r.p.g.Name, len(r.p.syms), len(syms))
	}
	for _, f := range r.followers {
		f.syms = copy(f.key[:], syms)
		f.step <- struct{}{}
	}
	err := step(context.Background())
	if err != nil {
		r.leave()
	}
	for i, f := range r.followers {
		if e := <-f.done; e != nil {
			if err == nil {
				r.leave()
			}
			err = errors.Join(err, fmt.Errorf("rank %d: %w", i+1, e))
		}
	}
	return err
}

// dismiss closes the followers.
func (r *Run) dismiss() error {
	var errs []error
	for _, f := range r.followers {
		close(f.step)
		errs = append(errs, f.run.Close())
	}
	r.followers = nil
	return errors.Join(errs...)
}

// copyState copies bytes inside a state's memory, on every rank: all hold parts of
// one size.
func (r *Run) copyState(val, to, from, bytes int) error {
	buf := r.states[val].buf
	if err := r.q.Copy(buf, to, buf, from, bytes); err != nil {
		return err
	}
	for _, f := range r.followers {
		if err := f.run.copyState(val, to, from, bytes); err != nil {
			return err
		}
	}
	return nil
}
