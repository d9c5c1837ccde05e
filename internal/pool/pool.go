// Package pool runs data-parallel loops on a fixed set of goroutines that
// outlive each loop.
//
// A forward step of a small model is hundreds of loops of a few microseconds
// each, so the cost that matters is the gap between two loops: workers spin
// for some microseconds after a loop before they park, the caller takes part
// in its own loop, and Run itself allocates nothing.
package pool

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Spin is how long an idle worker, or a caller that waits for the last task,
// keeps its core before it parks.
const Spin = 50 * time.Microsecond

// cacheLine keeps words that different cores write on lines of their own.
const cacheLine = 128

// A Pool runs parallel loops. Create one with New; a zero Pool is not usable.
// All methods may be called from any goroutine.
type Pool struct {
	threads int
	spin    time.Duration
	workers []*worker
	exited  sync.WaitGroup

	busy   sync.Mutex // held by the one loop that uses the workers
	closed atomic.Bool

	// One loop's description. Written only while no worker is active and the
	// epoch is even; read by workers between their two changes of active.
	fn    func(task, worker int)
	tasks int64
	ahead *Ahead

	_     [cacheLine]byte
	epoch atomic.Uint64 // odd while a loop accepts workers
	_     [cacheLine]byte
	next  atomic.Int64 // next task to hand out
	_     [cacheLine]byte
	// active counts workers inside the loop. The last one out wakes a caller
	// that has announced itself in waiting.
	active  atomic.Int64
	waiting atomic.Bool
	_       [cacheLine]byte

	done  chan struct{} // capacity 1
	fault atomic.Pointer[PanicError]
}

type worker struct {
	// parked is announced before the worker looks again for work, as waiting is
	// before the caller looks again for workers. That order needs a full barrier
	// between the write and the read. Go promises one for Store too, but emulators
	// of arm64 on x86 let a later load pass a store, and not an exchange.
	parked atomic.Bool
	wake   chan struct{} // capacity 1
	_      [cacheLine]byte
}

// PanicError reports a task that panicked. Tasks not yet started when it did
// were skipped, so the output of the loop is incomplete.
type PanicError struct {
	Task  int
	Value any    // what the task panicked with
	Stack []byte // of the panicking goroutine
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("pool: task %d panicked: %v\n%s", e.Task, e.Value, e.Stack)
}

// Unwrap returns the panic value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// New returns a pool that runs loops on up to threads goroutines, the caller
// of Run included; threads < 1 means runtime.GOMAXPROCS(0). With more threads
// than processors nothing spins: a spinning goroutine would hold a processor
// that a working one needs.
func New(threads int) *Pool {
	procs := runtime.GOMAXPROCS(0)
	if threads < 1 {
		threads = procs
	}
	p := &Pool{threads: threads, spin: Spin, done: make(chan struct{}, 1)}
	if threads > procs {
		p.spin = 0
	}
	p.workers = make([]*worker, threads-1)
	p.exited.Add(len(p.workers))
	for i := range p.workers {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers[i] = w
		go p.serve(w, i+1)
	}
	return p
}

// Threads is the number of goroutines a loop may use, the caller included.
func (p *Pool) Threads() int { return p.threads }

// Run calls fn(task, worker) once for every task in [0, tasks) and returns
// when all calls have returned. worker is in [0, Threads()) and no two calls
// of one Run that are in progress at the same time share it, so it may index
// scratch memory. Tasks are handed out in increasing order, one at a time.
//
// While a Run is in progress a second one on the same pool, nested in a task
// or from another goroutine, runs all its tasks on its own goroutine as
// worker 0: it never waits and never deadlocks. Scratch indexed by worker must
// therefore belong to one Run.
//
// A panic in fn ends the loop early and is returned as a *PanicError. Run does
// not allocate, but fn escapes: bind it once, not per call, where that matters.
func (p *Pool) Run(tasks int, fn func(task, worker int)) error {
	return p.RunAhead(tasks, fn, nil)
}

// Ahead is memory that a later loop reads. Whoever waits asks the processor for
// its first pieces, so that memory is not idle between loops.
type Ahead struct {
	fetch func(piece int) bool
	next  atomic.Int64
}

// NewAhead returns an Ahead of the pieces that fetch asks for, from 0 until it
// returns false. A call should take less than a microsecond, because new work waits
// for it; several may run at the same time, and later than the loop they are for.
func NewAhead(fetch func(piece int) bool) *Ahead { return &Ahead{fetch: fetch} }

// Restart makes the first piece the next one.
func (a *Ahead) Restart() { a.next.Store(0) }

// step fetches a piece. It reports whether there was one.
func (a *Ahead) step() bool { return a != nil && a.fetch(int(a.next.Add(1)-1)) }

// RunAhead is Run where goroutines that have nothing left to do fetch what a later
// loop reads, until this loop ends or, on workers, the next one begins.
func (p *Pool) RunAhead(tasks int, fn func(task, worker int), ahead *Ahead) error {
	if tasks <= 0 {
		return nil
	}
	if tasks == 1 || len(p.workers) == 0 || p.closed.Load() || !p.busy.TryLock() {
		return runInline(tasks, fn)
	}
	if p.closed.Load() { // Close came between the check and the lock
		p.busy.Unlock()
		return runInline(tasks, fn)
	}
	p.fn, p.tasks, p.ahead = fn, int64(tasks), ahead
	p.next.Store(0)
	p.epoch.Add(1) // open

	helpers := min(len(p.workers), tasks-1)
	for _, w := range p.workers[:helpers] {
		w.unpark()
	}
	p.drain(0)
	p.epoch.Add(1) // closed: from here no worker enters
	p.await()

	p.fn, p.ahead = nil, nil
	fault := p.fault.Swap(nil)
	p.busy.Unlock()
	if fault != nil {
		return fault
	}
	return nil
}

// Close ends the workers and waits for them. A Run after Close still works,
// on the caller's goroutine alone. Close must not be called from a task.
func (p *Pool) Close() {
	p.busy.Lock()
	first := !p.closed.Swap(true)
	p.busy.Unlock()
	if first {
		for _, w := range p.workers {
			w.unpark()
		}
	}
	p.exited.Wait()
}

// runInline runs every task on the calling goroutine as worker 0.
func runInline(tasks int, fn func(task, worker int)) (err error) {
	task := 0
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Task: task, Value: v, Stack: debug.Stack()}
		}
	}()
	for ; task < tasks; task++ {
		fn(task, 0)
	}
	return nil
}

// drain takes tasks until none is left.
func (p *Pool) drain(id int) {
	task := int64(-1)
	defer func() {
		if v := recover(); v != nil {
			p.fault.CompareAndSwap(nil, &PanicError{Task: int(task), Value: v, Stack: debug.Stack()})
			p.next.Store(p.tasks) // skip what nobody has started
		}
	}()
	fn, tasks := p.fn, p.tasks
	for {
		if task = p.next.Add(1) - 1; task >= tasks {
			return
		}
		fn(int(task), id)
	}
}

// await returns when no worker is inside the closed loop.
func (p *Pool) await() {
	if p.active.Load() == 0 {
		return
	}
	for p.ahead.step() {
		if p.active.Load() == 0 {
			return
		}
	}
	if p.spinUntil(func() bool { return p.active.Load() == 0 }) {
		return
	}
	// Swap, not Store: see worker.parked.
	p.waiting.Swap(true)
	if p.active.Load() != 0 || !p.waiting.CompareAndSwap(true, false) {
		// Either a worker is still inside and will see waiting, or the last
		// one saw it already: both send exactly one token.
		<-p.done
	}
}

// leave is a worker's exit from a loop.
func (p *Pool) leave() {
	if p.active.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// serve is the life of worker id.
func (p *Pool) serve(w *worker, id int) {
	defer p.exited.Done()
	var seen uint64 // the last epoch this worker has dealt with
	for {
		e := p.epoch.Load()
		if e != seen && e&1 == 1 {
			seen = e
			p.active.Add(1)
			// The caller closes the loop first and reads active afterwards;
			// seeing the same epoch here means it will wait for this worker.
			var ahead *Ahead
			if p.epoch.Load() == e {
				ahead = p.ahead
				p.drain(id)
			}
			p.leave()
			for !p.ready(seen) && ahead.step() {
			}
			continue
		}
		if p.closed.Load() {
			return
		}
		if p.spinUntil(func() bool { return p.ready(seen) }) {
			continue
		}
		w.parked.Swap(true)
		if p.ready(seen) && w.parked.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// ready reports whether there is something new for a worker.
func (p *Pool) ready(seen uint64) bool {
	e := p.epoch.Load()
	return e != seen && e&1 == 1 || p.closed.Load()
}

// unpark wakes the worker if it has parked.
func (w *worker) unpark() {
	if w.parked.Load() && w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// spinUntil polls cond for the pool's spin time and reports whether it held.
func (p *Pool) spinUntil(cond func() bool) bool {
	if p.spin == 0 {
		return cond()
	}
	for start := time.Now(); ; {
		for range 256 {
			if cond() {
				return true
			}
		}
		if time.Since(start) > p.spin {
			return false
		}
	}
}
