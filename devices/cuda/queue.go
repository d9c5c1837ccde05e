package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// stageBytes is the page-locked memory of a queue. Copies up to stageMax go
// through it; larger ones are copied by the driver, which is slower to start
// and, for reads, waits.
const (
	stageBytes = 1 << 20
	stageMax   = 64 << 10
	smallRead  = 1 << 10 // most bytes of a read or copy that a kernel does beside other small ones
)

// queue is a stream with staging memory.
type queue struct {
	d      *Device
	stream driver.Stream
	stage  []byte        // page-locked
	used   int           // bytes of stage that queued copies still refer to
	small  *scatter      // small writes, copies and reads that are not queued yet
	reads  []read        // copied out of stage by Sync, or by Wait on a fence behind them
	taken  int           // reads that were, since the beginning
	err    error         // why no further call can succeed
	side   driver.Stream // of launches that run beside others, 0 before the first
	member *member       // nil on a device that is joined to no other
}

// read is a copy that has reached stage once the queue is done.
type read struct {
	dst   []byte
	stage []byte
}

// NewQueue returns a queue on a stream of its own.
func (d *Device) NewQueue() (devices.Queue, error) {
	q := &queue{d: d, reads: make([]read, 0, 16)}
	fn, err := d.function("scatter", 0)
	if err != nil {
		return nil, err
	}
	err = d.with(func() (err error) {
		if q.stage, err = d.api.HostAlloc(stageBytes); err != nil {
			return err
		}
		if q.small, err = newScatter(d, fn); err != nil {
			return errors.Join(err, d.api.HostFree(q.stage))
		}
		if q.stream, err = d.api.NewStream(); err != nil {
			err = errors.Join(err, d.api.HostFree(q.stage), d.api.HostFree(q.small.block))
		}
		return err
	})
	if err != nil {
		return nil, wrap(d.Name()+": new queue", err)
	}
	d.small.Lock()
	defer d.small.Unlock()
	if d.small.of == nil {
		d.small.of = map[*scatter]bool{}
	}
	d.small.of[q.small] = true
	return q, nil
}

// do runs f with the context current, behind the writes collected so far, unless the
// queue has failed for good.
func (q *queue) do(what string, f func() error) error {
	if q.err != nil {
		return q.err
	}
	err := q.d.with(func() error {
		if err := q.small.flush(q.d.api, q.stream); err != nil {
			return fmt.Errorf("small writes: %w", err)
		}
		return f()
	})
	if err == nil {
		return nil
	}
	err = wrap(q.d.Name()+": "+what, err)
	if isLost(err) {
		q.d.lost.Store(true)
		q.err = err
		if q.member != nil {
			q.member.fail(err)
		}
	}
	return err
}

// room returns n bytes of staging memory, waiting for earlier copies if it is
// full. The caller has the context current.
func (q *queue) room(n int) ([]byte, error) {
	if q.used+n > len(q.stage) {
		if err := q.d.api.StreamSync(q.stream); err != nil {
			return nil, err
		}
		q.settle()
	}
	b := q.stage[q.used : q.used+n : q.used+n]
	q.used += (n + 63) &^ 63
	return b, nil
}

// settle finishes the staged copies of a queue whose work is done.
func (q *queue) settle() {
	q.settleTo(q.taken + len(q.reads))
	q.used = 0
}

// settleTo finishes staged copies until so many have been since the beginning.
func (q *queue) settleTo(taken int) {
	n := max(0, taken-q.taken)
	for _, r := range q.reads[:n] {
		copy(r.dst, r.stage)
	}
	left := copy(q.reads, q.reads[n:])
	clear(q.reads[left:])
	q.reads, q.taken = q.reads[:left], q.taken+n
}

// Write copies src to the device. Unlike the contract asks, src may be changed
// as soon as Write returns.
func (q *queue) Write(dst devices.Buffer, off int, src []byte) error {
	p, err := q.d.span(dst, off, len(src))
	if err != nil || len(src) == 0 {
		return err
	}
	if q.err != nil {
		return q.err
	}
	if q.small.add(p, src) {
		return nil
	}
	return q.do("write", func() error {
		if q.small.add(p, src) { // there is room again
			return nil
		}
		if len(src) > stageMax {
			return q.d.api.CopyIn(p, src, q.stream)
		}
		b, err := q.room(len(src))
		if err != nil {
			return err
		}
		copy(b, src)
		return q.d.api.CopyInLocked(p, b, q.stream)
	})
}

// Read copies to dst, which is filled when Sync returns without an error, and
// not written later.
func (q *queue) Read(dst []byte, src devices.Buffer, off int) error {
	p, err := q.d.span(src, off, len(dst))
	if err != nil || len(dst) == 0 {
		return err
	}
	if q.err != nil {
		return q.err
	}
	if n := len(dst); n <= smallRead && q.used+n <= len(q.stage) {
		b, err := q.room(n)
		if err != nil {
			return err
		}
		if q.small.move(driver.Ptr(uintptr(unsafe.Pointer(&b[0]))), p, n) {
			q.reads = append(q.reads, read{dst, b})
			return nil
		}
	}
	return q.do("read", func() error {
		if len(dst) > stageMax {
			return q.d.api.CopyOut(dst, p, q.stream)
		}
		b, err := q.room(len(dst))
		if err != nil {
			return err
		}
		q.reads = append(q.reads, read{dst, b})
		return q.d.api.CopyOutLocked(b, p, q.stream)
	})
}

// Copy copies inside device memory.
func (q *queue) Copy(dst devices.Buffer, dstOff int, src devices.Buffer, srcOff, bytes int) error {
	to, err := q.d.span(dst, dstOff, bytes)
	if err != nil {
		return err
	}
	from, err := q.d.span(src, srcOff, bytes)
	if err != nil || bytes == 0 {
		return err
	}
	if q.err != nil {
		return q.err
	}
	if bytes <= smallRead && q.small.move(to, from, bytes) {
		return nil
	}
	return q.do("copy", func() error { return q.d.api.CopyDevice(to, from, bytes, q.stream) })
}

// Launch runs launches once.
func (q *queue) Launch(launches ...devices.Launch) error {
	return q.do("launch", func() error {
		for _, l := range launches {
			k, err := q.own(l)
			if err != nil {
				return err
			}
			if err := k.enqueue(q.stream); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q *queue) own(l devices.Launch) (work, error) {
	k, ok := l.(work)
	if !ok || k.device() != q.d {
		return nil, fmt.Errorf("%T was bound for another device than %s", l, q.d.Name())
	}
	return k, nil
}

// spin is how long Sync asks without a pause. A step of a prompt takes some 20 ms,
// and a pause, however short, a millisecond.
const spin = 50 * time.Millisecond

// Sync waits until the queue is done. It asks the driver again and again, first
// without a pause, so that a step is seen to end at once, and later with pauses of a
// millisecond. If ctx ends first the work goes on; a later Sync can wait for it.
func (q *queue) Sync(ctx context.Context) error {
	if err := q.await(ctx, "sync", func() (bool, error) { return q.d.api.StreamDone(q.stream) }); err != nil {
		return err
	}
	q.settle()
	return nil
}

// await asks done until it is true.
func (q *queue) await(ctx context.Context, what string, done func() (bool, error)) error {
	if q.err != nil {
		return q.err
	}
	start := time.Now()
	for {
		over := false
		err := q.do(what, func() (err error) {
			for i := 0; i < 16 && !over && err == nil; i++ {
				over, err = done()
			}
			return err
		})
		if err != nil {
			return err
		}
		if q.member != nil {
			if err := q.member.check(over, time.Since(start)); err != nil {
				q.err = err
				return err
			}
		}
		if over {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(start) < spin {
			runtime.Gosched()
		} else {
			time.Sleep(time.Millisecond)
		}
	}
}

// fence is a place in a queue.
type fence struct {
	q     *queue
	event driver.Event
	reads int // that are before it, since the beginning
}

// NewFence returns a fence that stands nowhere yet.
func (q *queue) NewFence() (devices.Fence, error) {
	f := &fence{q: q}
	return f, q.do("new fence", func() (err error) {
		f.event, err = q.d.api.NewEdge()
		return err
	})
}

// Set puts the fence behind all that was queued so far.
func (f *fence) Set() error {
	return f.q.do("fence", func() error {
		f.reads = f.q.taken + len(f.q.reads)
		return f.q.d.api.Record(f.event, f.q.stream)
	})
}

// Wait waits as Sync does, for what is before the fence.
func (f *fence) Wait(ctx context.Context) error {
	q := f.q
	if err := q.await(ctx, "wait at a fence", func() (bool, error) { return q.d.api.EventDone(f.event) }); err != nil {
		return err
	}
	q.settleTo(f.reads)
	return nil
}

// Free frees the fence.
func (f *fence) Free() error {
	if f.event == 0 {
		return nil
	}
	err := f.q.d.release(func() error { return f.q.d.api.DestroyEvent(f.event) })
	f.event = 0
	return f.q.d.released(": free fence", err)
}

// Close waits for the queue's work and frees it. Copies to the host that were
// not synced are dropped.
func (q *queue) Close() error {
	if q.stream == 0 {
		return nil
	}
	q.d.small.Lock()
	delete(q.d.small.of, q.small)
	q.d.small.Unlock()
	err := q.d.release(func() error {
		errs := []error{q.d.api.StreamSync(q.stream), q.d.api.DestroyStream(q.stream), q.d.api.HostFree(q.stage), q.d.api.HostFree(q.small.block)}
		if q.side != 0 {
			errs = append(errs, q.d.api.DestroyStream(q.side))
		}
		return errors.Join(errs...)
	})
	q.stream, q.stage, q.reads = 0, nil, nil
	if q.err == nil {
		q.err = fmt.Errorf("%s: the queue is closed", q.d.Name())
	}
	return q.d.released(": close queue", err)
}
