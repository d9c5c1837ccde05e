package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/pool"
)

// Queue runs work at once, on the caller's goroutine and the pool's workers. As
// on every device, an error of the work itself is reported by Sync, and work
// enqueued between the two is skipped.
type Queue struct {
	pool *pool.Pool
	err  error
}

func buffer(b devices.Buffer, off, n int) ([]byte, *Buffer, error) {
	hb, ok := b.(*Buffer)
	if !ok {
		return nil, nil, fmt.Errorf("buffer %T is not host memory", b)
	}
	if off < 0 || n < 0 || off > len(hb.data) || n > len(hb.data)-off {
		return nil, nil, fmt.Errorf("bytes %d to %d are outside a buffer of %d", off, off+n, len(hb.data))
	}
	return hb.data[off : off+n], hb, nil
}

var errReadOnly = errors.New("the buffer wraps memory that must not be written")

// Write implements devices.Queue.
func (q *Queue) Write(dst devices.Buffer, off int, src []byte) error {
	d, b, err := buffer(dst, off, len(src))
	if err == nil && b.readOnly {
		err = errReadOnly
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if q.err == nil {
		copy(d, src)
	}
	return nil
}

// Read implements devices.Queue.
func (q *Queue) Read(dst []byte, src devices.Buffer, off int) error {
	s, _, err := buffer(src, off, len(dst))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if q.err == nil {
		copy(dst, s)
	}
	return nil
}

// Copy implements devices.Queue.
func (q *Queue) Copy(dst devices.Buffer, dstOff int, src devices.Buffer, srcOff, bytes int) error {
	s, _, err := buffer(src, srcOff, bytes)
	if err != nil {
		return fmt.Errorf("copy: source: %w", err)
	}
	if err := q.Write(dst, dstOff, s); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

// Launch implements devices.Queue.
func (q *Queue) Launch(launches ...devices.Launch) error {
	ws, err := flatten(launches)
	if err != nil {
		return err
	}
	q.run(ws)
	return nil
}

func (q *Queue) run(ws []work) {
	if q.err != nil {
		return
	}
	for i := range ws {
		w := &ws[i]
		if w.own != nil {
			w.own.Restart()
		}
		if err := q.pool.RunAhead(w.phase.Tasks, w.phase.Run, w.ahead); err != nil {
			q.err = w.explain(err)
			return
		}
	}
}

// Capture implements devices.Queue.
func (q *Queue) Capture(launches []devices.Launch) (devices.Sequence, error) {
	ws, err := flatten(launches)
	if err != nil {
		return nil, err
	}
	return &sequence{q: q, work: ws, launches: len(launches)}, nil
}

// Sync implements devices.Queue.
func (q *Queue) Sync(ctx context.Context) error {
	err := q.err
	q.err = nil
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// Close implements devices.Queue.
func (q *Queue) Close() error { return nil }

// sequence is the flat list of phases of a captured step.
type sequence struct {
	q        *Queue
	work     []work
	launches int
}

func (s *sequence) Replay() error {
	s.q.run(s.work)
	return nil
}

// Profile measures each launch; a launch without work takes no time.
func (s *sequence) Profile() ([]time.Duration, error) {
	times := make([]time.Duration, s.launches)
	for i := range s.work {
		start := time.Now()
		s.q.run(s.work[i : i+1])
		times[s.work[i].launch] += time.Since(start)
	}
	return times, s.q.Sync(context.Background())
}

func (s *sequence) Free() error {
	s.work = nil
	return nil
}
