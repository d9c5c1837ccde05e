package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/devices/cuda/internal/nccl"
)

// member is a GPU joined to those of other ranks by NCCL. The ranks may be
// goroutines of one process, with a GPU each, or processes.
type member struct {
	*Device
	c       devices.Communicator
	kernels []devices.Kernel

	connect func() error // once
	api     *nccl.API    // set by connect, as comm
	comm    *nccl.Comm
	calls   atomic.Int32  // of comm that are being made
	leaving chan struct{} // closed by Leave

	mu   sync.Mutex // guards what follows
	err  error      // why nothing works any more
	gone chan error // what aborting the group led to; nil while it is whole
	left bool
}

var _ devices.Joiner = (*Device)(nil)

// Join returns the device with kernels for collective ops over NCCL
// (libnccl.so.2, of version 2.23 or newer), which is opened when the first
// queue is made. Queues fail, instead of waiting, when a rank is gone, as far as
// c can tell (devices.Watcher); that ends the group.
func (d *Device) Join(c devices.Communicator) devices.Member {
	m := &member{Device: d, c: c, leaving: make(chan struct{})}
	m.kernels = slices.Concat(m.collectiveKernels(), d.kernels)
	m.connect = sync.OnceValue(m.form)
	return m
}

// Kernels lists every kernel, those of collective ops first.
func (m *member) Kernels() []devices.Kernel { return m.kernels }

// NewQueue returns a queue. The first one joins the ranks: it returns when all
// have got there.
func (m *member) NewQueue() (devices.Queue, error) {
	if err := m.connect(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name(), err)
	}
	if err := m.failed(); err != nil {
		return nil, err
	}
	dq, err := m.Device.NewQueue()
	if err != nil {
		return nil, err
	}
	q := dq.(*queue)
	q.member = m
	return q, nil
}

// form makes the group of ranks and tries it.
func (m *member) form() error {
	if m.Device.api == nil {
		return ErrOffline
	}
	api, err := nccl.Load()
	var id nccl.ID
	if err == nil && m.c.Rank() == 0 {
		id, err = api.NewID()
	}
	if id, e := m.share(id, err == nil); err != nil || e != nil {
		return errors.Join(err, e)
	} else if err = m.with(func() (err error) {
		m.comm, err = api.Join(id, m.c.Rank(), m.c.Size())
		return err
	}); err != nil {
		return fmt.Errorf("joining %d GPUs: %w", m.c.Size(), err)
	}
	m.api = api
	if w, ok := m.c.(devices.Watcher); ok {
		go func() {
			select {
			case <-w.Gone():
				m.fail(devices.ErrGone)
			case <-m.leaving:
			}
		}()
	}
	return m.try()
}

// share gives every rank the id of rank 0, unless one is not ready.
func (m *member) share(id nccl.ID, ready bool) (nccl.ID, error) {
	rank, size := m.c.Rank(), m.c.Size()
	const flag = 4 // bytes, which some engines move faster than one
	at, n := make([]int, size), make([]int, size)
	for r := range size {
		at[r], n[r] = len(id)+flag*r, flag
	}
	at[0], n[0] = 0, len(id)+flag
	buf := make([]byte, len(id)+flag*size)
	copy(buf, id[:])
	if ready {
		buf[len(id)+flag*rank] = 1
	}
	if err := m.c.AllGather(buf, at, n); err != nil {
		return id, err
	}
	copy(id[:], buf)
	for r := range size {
		if buf[len(id)+flag*r] == 0 && ready {
			return id, fmt.Errorf("rank %d of %d has no NCCL", r, size)
		}
	}
	return id, nil
}

// try runs one small sum, so that what does not work is found here, and
// connections that the library makes when first needed exist before a capture.
func (m *member) try() error {
	buf, err := m.Alloc(devices.Align)
	if err != nil {
		return err
	}
	defer buf.Free()
	dq, err := m.Device.NewQueue()
	if err != nil {
		return err
	}
	q := dq.(*queue)
	q.member = m
	defer q.Close()
	p := buf.(*buffer).ptr
	w := &exchange{m: m, name: "all_reduce", run: func(s driver.Stream) error {
		return m.comm.AllReduce(p, p, devices.Align/4, nccl.Float32, nccl.Sum, s)
	}}
	if err := q.Launch(w); err != nil {
		return err
	}
	return q.Sync(context.Background())
}

// fail ends the group because of err: work that waits for other ranks ends.
func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(err)
}

func (m *member) failLocked(err error) {
	if m.err != nil || m.left || m.comm == nil {
		return
	}
	m.err = fmt.Errorf("%s: the ranks are no longer joined: %w", m.Name(), err)
	m.gone = make(chan error, 1)
	go func() {
		// A call may itself wait for a rank that is gone.
		for start := time.Now(); m.calls.Load() > 0 && time.Since(start) < time.Second; {
			time.Sleep(time.Millisecond)
		}
		// This waits for sequences to be freed, by those that wait for queues.
		m.gone <- m.release(m.comm.Abort)
	}()
}

// call makes calls of the group, unless it has failed.
func (m *member) call(f func() error) error {
	m.calls.Add(1)
	defer m.calls.Add(-1)
	if err := m.failed(); err != nil {
		return err
	}
	return f()
}

func (m *member) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// slow is how long work takes before the library is asked whether it failed.
const slow = 100 * time.Millisecond

// check is asked while a queue waits: work that ended because the group did is
// not done.
func (m *member) check(done bool, waited time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !done && waited > slow && m.err == nil {
		if err := m.comm.Err(); err != nil {
			m.failLocked(err)
		}
	}
	return m.err
}

// patience is how long Leave waits for a group that has failed.
const patience = 10 * time.Second

// Leave implements devices.Member.
func (m *member) Leave() (err error) {
	m.mu.Lock()
	left, failed := m.left, m.err != nil
	m.left = true
	m.mu.Unlock()
	if left {
		return nil
	}
	close(m.leaving)
	switch {
	case m.comm == nil:
		return nil
	case !failed:
		err = m.release(m.comm.Destroy)
	default:
		select {
		case err = <-m.gone:
		case <-time.After(patience):
			err = errors.New("NCCL does not end its group: the process must be started again")
		}
	}
	return wrap(m.Name()+": leave", err)
}

// Joinable is nil if GPUs of this machine can be joined, as far as NCCL goes, or
// says what is missing.
func Joinable() error {
	_, err := nccl.Load()
	return wrap("cuda", err)
}
