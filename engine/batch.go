package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/trit-ml/trit/runtime"
)

// Job is one request of a batch. A job whose Err is set is answered with it.
type Job struct {
	ID string
	Request
	Err error
}

// Answer is the result of a job.
type Answer struct {
	ID   string
	IDs  []int32 // without the stop token
	Stop string  // "end": a stop token, "length": MaxTokens, "context": it is full
	Err  error
}

// running is a job that has a sequence.
type running struct {
	Job
	q       runtime.Seq
	sampler *runtime.Sampler
	ids     []int32
}

// Batch runs jobs as they come, most at once, in steps that all of them share
// (continuous batching). next returns false when there are no more; emit gets
// each answer when it is complete. An answer does not depend on what else runs.
func (e *Engine) Batch(ctx context.Context, most int, next func() (Job, bool, error), emit func(Answer) error) (err error) {
	var live []*running
	defer func() {
		for _, r := range live {
			err = errors.Join(err, e.Session.End(r.q))
		}
	}()
	more := true
	for more || len(live) > 0 {
		for more && len(live) < most {
			job, ok, err := next()
			if err != nil {
				return err
			}
			if more = ok; !ok {
				break
			}
			r, err := e.admit(job)
			if err != nil {
				if err := emit(Answer{ID: job.ID, Err: err}); err != nil {
					return err
				}
				continue
			}
			live = append(live, r)
		}
		if len(live) == 0 {
			continue
		}
		if _, err := e.Session.Step(ctx); err != nil {
			return err
		}
		var still []*running
		for i, r := range live {
			a, done, err := e.advance(r)
			for err == nil && !done && e.Session.Pending(r.q) == 0 && e.Session.Ready(r.q) { // a guess was right
				a, done, err = e.advance(r)
			}
			if err == nil && done {
				if err = e.Session.End(r.q); err == nil {
					err = emit(a)
				}
			} else {
				still = append(still, r)
			}
			if err != nil {
				live = append(still, live[i+1:]...)
				return err
			}
		}
		live = still
	}
	return nil
}

// admit gives a job a sequence and feeds its prompt.
func (e *Engine) admit(job Job) (*running, error) {
	if job.Err != nil {
		return nil, job.Err
	}
	if len(job.Prompt) == 0 {
		return nil, errors.New("the prompt is empty")
	}
	sampler, err := runtime.NewSampler(e.Session.Vocab(), job.Sampling)
	if err != nil {
		return nil, err
	}
	sampler.Accept(job.Prompt...)
	q, err := e.Session.Open()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(e.Session.Sample(q, sampler), e.Session.Feed(q, sampler.Want(), job.Prompt...)); err != nil {
		return nil, errors.Join(err, e.Session.End(q))
	}
	return &running{Job: job, q: q, sampler: sampler}, nil
}

// advance draws a token if the step gave the job logits.
func (e *Engine) advance(r *running) (a Answer, done bool, err error) {
	if !e.Session.Ready(r.q) {
		return a, false, nil
	}
	id, err := r.sampler.Draw(e.Session, r.q)
	a = Answer{ID: r.ID}
	switch {
	case err != nil:
		a.Err, done = err, true
	case slices.Contains(r.Stops, id):
		a.Stop, done = "end", true
	default:
		r.ids = append(r.ids, id)
		switch {
		case len(r.ids) == r.MaxTokens:
			a.Stop, done = "length", true
		case e.Session.Len(r.q) == e.Session.Context():
			a.Stop, done = "context", true
		default:
			return a, false, e.Session.Feed(r.q, r.sampler.Want(), id)
		}
	}
	a.IDs = r.ids
	return a, done, nil
}
