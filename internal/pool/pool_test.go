package pool

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEveryTaskRunsOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 4 * runtime.GOMAXPROCS(0)} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			p := New(threads)
			defer p.Close()
			if p.Threads() != threads {
				t.Fatalf("Threads() = %d, want %d", p.Threads(), threads)
			}
			for round := range 300 {
				tasks := round * 7 % 97
				ran := make([]atomic.Int32, tasks)
				inside := make([]atomic.Int32, threads)
				err := p.Run(tasks, func(task, worker int) {
					if inside[worker].Add(1) != 1 {
						t.Errorf("two tasks at once on worker %d", worker)
					}
					ran[task].Add(1)
					if round%50 == 0 {
						time.Sleep(10 * time.Microsecond)
					}
					inside[worker].Add(-1)
				})
				if err != nil {
					t.Fatal(err)
				}
				for i := range ran {
					if n := ran[i].Load(); n != 1 {
						t.Fatalf("round %d: task %d ran %d times", round, i, n)
					}
				}
			}
		})
	}
}

// A parked worker must be woken: with two tasks that wait for each other the
// loop only ends if both run at the same time.
func TestParkedWorkersWake(t *testing.T) {
	p := New(2)
	defer p.Close()
	for range 3 {
		for !p.workers[0].parked.Load() {
			time.Sleep(Spin)
		}
		var both sync.WaitGroup
		both.Add(2)
		if err := p.Run(2, func(_, _ int) { both.Done(); both.Wait() }); err != nil {
			t.Fatal(err)
		}
	}
}

// The caller must also come back when a worker's task is far longer than the
// spin time.
func TestSlowWorker(t *testing.T) {
	p := New(2)
	defer p.Close()
	var sum atomic.Int64
	for range 5 {
		var first atomic.Bool
		err := p.Run(2, func(task, worker int) {
			if worker != 0 || first.Swap(true) {
				time.Sleep(20 * Spin)
			}
			sum.Add(1)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if sum.Load() != 10 {
		t.Fatalf("%d tasks ran, want 10", sum.Load())
	}
}

func TestPanicBecomesError(t *testing.T) {
	cause := errors.New("boom")
	for _, threads := range []int{1, 2, 5} {
		p := New(threads)
		for range 20 {
			err := p.Run(64, func(task, _ int) {
				if task == 5 {
					panic(cause)
				}
			})
			var pe *PanicError
			if !errors.As(err, &pe) || pe.Task != 5 || !errors.Is(err, cause) || len(pe.Stack) == 0 {
				t.Fatalf("threads %d: got %v, want a PanicError of task 5", threads, err)
			}
			var ran atomic.Int32
			if err := p.Run(64, func(_, _ int) { ran.Add(1) }); err != nil || ran.Load() != 64 {
				t.Fatalf("after a panic: %d of 64 tasks, error %v", ran.Load(), err)
			}
		}
		p.Close()
	}
}

func TestNestedAndConcurrentRuns(t *testing.T) {
	p := New(3)
	defer p.Close()
	var count atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 50 {
				err := p.Run(8, func(_, _ int) {
					if err := p.Run(4, func(_, _ int) { count.Add(1) }); err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if want := int64(4 * 50 * 8 * 4); count.Load() != want {
		t.Fatalf("%d inner tasks ran, want %d", count.Load(), want)
	}
}

func TestCloseEndsWorkersAndRunStillWorks(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(8)
	p.Close()
	p.Close()
	n := 0
	if err := p.Run(10, func(_, worker int) { n += 1 + worker }); err != nil || n != 10 {
		t.Fatalf("Run after Close: n = %d, error %v", n, err)
	}
	for try := 0; runtime.NumGoroutine() > before; try++ {
		if try > 100 {
			t.Fatalf("%d goroutines, %d before New", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	p := New(2)
	defer p.Close()
	var sink [2]int
	fn := func(task, worker int) { sink[worker] += task }
	if n := testing.AllocsPerRun(100, func() { _ = p.Run(16, fn) }); n != 0 {
		t.Fatalf("Run allocates %v times", n)
	}
}

func BenchmarkRun(b *testing.B) {
	for _, threads := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := New(threads)
			defer p.Close()
			fn := func(_, _ int) {}
			for b.Loop() {
				_ = p.Run(2*threads, fn)
			}
		})
	}
}

// TestAhead: whoever waits fetches pieces in order, each once, until there is none,
// and tasks run as ever.
func TestAhead(t *testing.T) {
	const pieces = 100
	p := New(3)
	defer p.Close()
	for range 50 {
		var fetched [pieces]atomic.Int32
		var past atomic.Int32
		a := NewAhead(func(piece int) bool {
			if piece >= pieces {
				past.Add(1)
				return false
			}
			fetched[piece].Add(1)
			return true
		})
		for range 3 { // each loop goes on where the one before stopped
			var ran atomic.Int32
			slow := func(task, _ int) {
				ran.Add(1)
				if task == 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			if err := p.RunAhead(8, slow, a); err != nil || ran.Load() != 8 {
				t.Fatalf("%d of 8 tasks ran: %v", ran.Load(), err)
			}
		}
		for range 1000 {
			if past.Load() > 0 {
				break
			}
			time.Sleep(10 * time.Microsecond)
		}
		for i := range fetched {
			if n := fetched[i].Load(); n != 1 {
				t.Fatalf("piece %d was fetched %d times", i, n)
			}
		}
		if a.Restart(); !a.step() || fetched[0].Load() != 2 {
			t.Fatal("Restart does not begin with piece 0")
		}
	}
}
