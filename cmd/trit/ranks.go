package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/mpi"
)

// ranks is the processes that mpirun started; nil for a process of its own.
type ranks struct{ world *mpi.World }

func (r *ranks) communicator() devices.Communicator {
	if r == nil {
		return nil
	}
	return r.world
}

// first reports whether this is rank 0, which speaks for all.
func (r *ranks) first() bool { return r == nil || r.world.Rank() == 0 }

// end leaves the other ranks in order. After an error it does not: they are in
// the middle of something, and mpirun ends them when this process is gone.
func (r *ranks) end(err error) error {
	if r == nil || err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(err, r.world.Close())
}

// watched is set in a process that another one watches.
const watched = "TRIT_WATCHED_RANK"

// join joins the processes that mpirun started. The process that mpirun knows
// only starts and watches the one that trains, so that somebody is left to tell
// what became of it; in the former join returns when the latter has ended, and
// done is true.
func (c *trainCmd) join(e *env) (r *ranks, done bool, err error) {
	rank, size, ok := mpi.Launched()
	if !ok || size == 1 {
		return nil, false, nil
	}
	if !mpi.Built {
		return nil, false, fmt.Errorf("mpirun started %d processes, but this program was built without MPI and would train as many times: build it with -tags mpi", size)
	}
	if os.Getenv(watched) == "" {
		return nil, true, watch(e, rank, size)
	}
	if c.Threads < 1 {
		c.Threads = max(1, runtime.GOMAXPROCS(0)/mpi.LocalSize())
	}
	if c.Device == "cuda" {
		c.Device = fmt.Sprintf("cuda:%d", mpi.LocalRank())
	}
	w, err := mpi.Open()
	if err != nil {
		return nil, false, err
	}
	return &ranks{w}, false, nil
}

// watch runs this command again as the rank and reports how it ended.
func watch(e *env, rank, size int) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	// The system ties the child's life to this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), watched+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("rank %d of %d on %s: %w", rank, size, host, err)
	}
	fmt.Fprintf(e.err, "rank %d of %d is process %d on %s\n", rank, size, cmd.Process.Pid, host)
	defer context.AfterFunc(e.ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })() // or it has ended
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("rank %d of %d on %s: %w", rank, size, host, err)
	case exit.ExitCode() == stoppedCode:
		return exitCode(stoppedCode)
	}
	fmt.Fprintf(e.err, "trit: rank %d of %d on %s, process %d, ended: %s; the run goes on from its last checkpoint with --resume, on any number of ranks that divides the rows\n",
		rank, size, host, cmd.Process.Pid, exit)
	if code := exit.ExitCode(); code > 0 {
		return exitCode(code)
	}
	return exitCode(1)
}
