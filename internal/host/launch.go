package host

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/pool"
)

// Launch is one bound kernel call: phases run in order.
type Launch struct {
	// Where is the call's position for error messages, from Call.Where.
	Where  string
	Phases []Phase
	// Unread, if not nil, is what Skipped returns.
	Unread func() int
}

// Skipped implements devices.Skipper.
func (l Launch) Skipped() int {
	if l.Unread == nil {
		return 0
	}
	return l.Unread()
}

// Phase is a parallel loop. Run(task, worker) is called once for every task in
// [0, Tasks), possibly at the same time; worker indexes per-worker scratch. It
// reports bad data with [Fail] and must not allocate in kernels that are meant
// for the hot path.
//
// Fetch, if not nil, asks the processor for a piece of the memory that the first
// tasks read: threads that wait for the phases before this one call it with 0, 1
// and so on until it returns false. Pieces should be a kilobyte or so.
type Phase struct {
	Tasks int
	Run   func(task, worker int)
	Fetch func(piece int) bool
}

// Serial returns a launch that runs f once.
func Serial(c *devices.Call, f func()) Launch {
	return Launch{Where: c.Where, Phases: []Phase{{Tasks: 1, Run: func(int, int) { f() }}}}
}

// Parallel returns a launch of a single phase.
func Parallel(c *devices.Call, tasks int, run func(task, worker int)) Launch {
	return Launch{Where: c.Where, Phases: []Phase{{Tasks: tasks, Run: run}}}
}

// Chunks returns a launch that splits n rows into chunks of size rows, the last
// one shorter, and calls run with each half-open range. Where chunks fall
// depends on n and size only, never on the number of threads.
func Chunks(c *devices.Call, n, size int, run func(from, to int)) Launch {
	size = max(1, size)
	return Parallel(c, (n+size-1)/size, func(task, _ int) {
		run(task*size, min(n, (task+1)*size))
	})
}

// failure carries an error out of a phase.
type failure struct{ err error }

// Fail ends the launch, called from inside a phase, with an error about the
// data, such as a token id outside the vocabulary. The queue reports it at Sync.
func Fail(err error) { panic(failure{err}) }

// work is a launch after flattening: what the queue runs.
type work struct {
	phase  Phase
	launch int // index in the captured list
	where  string
	own    *pool.Ahead // what this phase reads
	ahead  *pool.Ahead // what the next phase that has such memory reads, if one follows
}

func flatten(launches []devices.Launch) ([]work, error) {
	var ws []work
	for i, l := range launches {
		hl, ok := l.(Launch)
		if !ok {
			return nil, fmt.Errorf("launch %d is %T, made by another kind of device", i, l)
		}
		for _, p := range hl.Phases {
			if p.Tasks > 0 {
				w := work{phase: p, launch: i, where: hl.Where}
				if p.Fetch != nil {
					w.own = pool.NewAhead(p.Fetch)
				}
				ws = append(ws, w)
			}
		}
	}
	var next *pool.Ahead
	for i := len(ws) - 1; i >= 0; i-- {
		ws[i].ahead = next
		if ws[i].own != nil {
			next = ws[i].own
		}
	}
	return ws, nil
}

// explain turns what the pool returns into an error for the user.
func (w *work) explain(err error) error {
	var p *pool.PanicError
	if errors.As(err, &p) {
		if f, ok := p.Value.(failure); ok {
			err = f.err
		}
	}
	if w.where == "" {
		return err
	}
	return fmt.Errorf("%s: %w", w.where, err)
}
