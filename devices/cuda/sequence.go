package cuda

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// sequence is a CUDA graph made by capturing launches on the queue's stream.
type sequence struct {
	q        *queue
	exec     driver.GraphExec
	launches []work
}

// Capture records the launches; nothing runs.
func (q *queue) Capture(launches []devices.Launch) (devices.Sequence, error) {
	s := &sequence{q: q, launches: make([]work, len(launches))}
	until := make([]int, len(launches)) // 0: in order
	for i, l := range launches {
		if a, ok := l.(devices.Aside); ok {
			l, until[i] = a.Launch, a.Until
		}
		k, err := q.own(l)
		if err != nil {
			return nil, fmt.Errorf("launch %d: %w", i, err)
		}
		s.launches[i] = k
	}
	record := s.launches
	if !slices.ContainsFunc(until, func(n int) bool { return n != 0 }) {
		var err error
		if record, err = joined(s.launches); err != nil {
			return nil, err
		}
		record = hasten(record)
	}
	api := q.d.api
	err := q.do("capture", func() error {
		if err := api.BeginCapture(q.stream); err != nil {
			return err
		}
		errs := []error{q.record(record, until[:len(record)])}
		// Also after an error, or the stream would stay in capture.
		g, err := api.EndCapture(q.stream)
		errs = append(errs, err)
		if errors.Join(errs...) == nil {
			s.exec, err = api.Instantiate(g)
			errs = append(errs, err)
		}
		if g != 0 {
			errs = append(errs, api.DestroyGraph(g))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Replay enqueues the graph: one driver call.
func (s *sequence) Replay() error {
	q := s.q
	return q.do("replay", func() error { return q.d.api.LaunchGraph(s.exec, q.stream) })
}

// Profile runs the launches one by one between events. The times hold a
// microsecond or two of launch gap that a replay does not have.
func (s *sequence) Profile() ([]time.Duration, error) {
	q, api := s.q, s.q.d.api
	times := make([]time.Duration, len(s.launches))
	err := q.do("profile", func() (err error) {
		marks := make([]driver.Event, 0, len(s.launches)+1)
		defer func() {
			for _, e := range marks {
				err = errors.Join(err, api.DestroyEvent(e))
			}
		}()
		mark := func() error {
			e, err := api.NewEvent()
			if err != nil {
				return err
			}
			marks = append(marks, e)
			return api.Record(e, q.stream)
		}
		if err := mark(); err != nil {
			return err
		}
		for _, k := range s.launches {
			if err := k.enqueue(q.stream); err != nil {
				return err
			}
			if err := mark(); err != nil {
				return err
			}
		}
		if err := api.StreamSync(q.stream); err != nil {
			return err
		}
		q.settle()
		for i := range times {
			ms, err := api.Elapsed(marks[i], marks[i+1])
			if err != nil {
				return err
			}
			times[i] = time.Duration(float64(ms) * float64(time.Millisecond))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return times, nil
}

// Free waits for replays under way, which a cancelled Sync may have left.
func (s *sequence) Free() error {
	if s.exec == 0 {
		return nil
	}
	q, api := s.q, s.q.d.api
	err := q.d.release(func() error {
		var wait error
		if q.stream != 0 {
			wait = api.StreamSync(q.stream)
		}
		return errors.Join(wait, api.DestroyExec(s.exec))
	})
	s.exec = 0
	return s.q.d.released(": free sequence", err)
}
