// Package mpi joins processes that mpirun started, through Open MPI.
//
// It needs no cgo: a program built with -tags mpi for linux or darwin opens
// Open MPI's library (libmpi.so.40, of Open MPI 2 to 4; on Debian the packages
// openmpi-bin and libopenmpi3) when [Open] is called. Such a program is
// dynamically linked; without the tag Open only returns an error.
//
//	go build -tags mpi -o trit-mpi ./cmd/trit
//	mpirun -n 2 ./trit-mpi train --data texts --out runs/mine --threads 1
package mpi

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"github.com/trit-ml/trit/devices"
)

// Launched reports whether mpirun started this process, and as which rank of
// how many, before anything is loaded.
func Launched() (rank, size int, ok bool) {
	size, err := strconv.Atoi(os.Getenv("OMPI_COMM_WORLD_SIZE"))
	if err != nil {
		return 0, 0, false
	}
	rank, err = strconv.Atoi(os.Getenv("OMPI_COMM_WORLD_RANK"))
	return rank, size, err == nil && rank >= 0 && rank < size
}

// LocalSize is how many of the processes that mpirun started run on this
// machine; 1 outside of mpirun.
func LocalSize() int {
	n, err := strconv.Atoi(os.Getenv("OMPI_COMM_WORLD_LOCAL_SIZE"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// LocalRank numbers the processes that mpirun started on this machine, from 0; 0
// outside of mpirun.
func LocalRank() int {
	n, err := strconv.Atoi(os.Getenv("OMPI_COMM_WORLD_LOCAL_RANK"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// library is what is used of Open MPI: addresses of functions and of the objects
// that its handles point to.
type library struct {
	initThread, commRank, commSize, allToAllV, allGatherV, finalize, errorString, setErrhandler uintptr
	world, bytes, floats, errorsReturn                                                          uintptr
}

// symbols names them, in Open MPI's binary interface.
func (l *library) symbols() map[string]*uintptr {
	return map[string]*uintptr{
		"MPI_Init_thread": &l.initThread, "MPI_Comm_rank": &l.commRank, "MPI_Comm_size": &l.commSize,
		"MPI_Alltoallv": &l.allToAllV, "MPI_Allgatherv": &l.allGatherV, "MPI_Finalize": &l.finalize,
		"MPI_Error_string": &l.errorString, "MPI_Comm_set_errhandler": &l.setErrhandler,
		"ompi_mpi_comm_world": &l.world, "ompi_mpi_byte": &l.bytes, "ompi_mpi_float": &l.floats,
		"ompi_mpi_errors_return": &l.errorsReturn,
	}
}

// World is all processes of one mpirun.
//
// If a rank ends with an error or is killed, mpirun ends the others; their calls
// do not return.
type World struct {
	lib        library
	rank, size int

	mu                       sync.Mutex
	closed                   bool
	calls                    chan func() error // to the thread that may call the library
	done                     chan error
	counts, displs, own, ats []int32 // of the call under way, one for each rank
}

var _ devices.Communicator = (*World)(nil)

// threadFunneled is the thread level at which one thread makes all calls.
const threadFunneled = 1

// inPlace is MPI_IN_PLACE.
const inPlace = 1

// Open joins the other processes. It is called once in the life of a process,
// and blocks until all have called it.
func Open() (*World, error) {
	w := &World{calls: make(chan func() error), done: make(chan error)}
	go func() {
		runtime.LockOSThread() // the library's thread until the process ends
		for f := range w.calls {
			w.done <- f()
		}
	}()
	if err := w.call(w.init); err != nil {
		close(w.calls)
		return nil, fmt.Errorf("mpi: %w", err)
	}
	for _, s := range []*[]int32{&w.counts, &w.displs, &w.own, &w.ats} {
		*s = make([]int32, w.size)
	}
	return w, nil
}

func (w *World) call(f func() error) error {
	w.calls <- f
	return <-w.done
}

func (w *World) init() error {
	// Go handles the signals of faulty memory accesses itself.
	if err := os.Setenv("OMPI_MCA_opal_signal", ""); err != nil {
		return err
	}
	if err := load(&w.lib); err != nil {
		return err
	}
	var provided, rank, size int32
	if err := w.check("MPI_Init_thread", invoke(w.lib.initThread, 0, 0, threadFunneled, uintptr(unsafe.Pointer(&provided)))); err != nil {
		return err
	}
	if provided < threadFunneled {
		return fmt.Errorf("the library gives thread level %d, want at least %d", provided, threadFunneled)
	}
	if err := errors.Join(
		w.check("MPI_Comm_set_errhandler", invoke(w.lib.setErrhandler, w.lib.world, w.lib.errorsReturn)),
		w.check("MPI_Comm_rank", invoke(w.lib.commRank, w.lib.world, uintptr(unsafe.Pointer(&rank)))),
		w.check("MPI_Comm_size", invoke(w.lib.commSize, w.lib.world, uintptr(unsafe.Pointer(&size))))); err != nil {
		return err
	}
	w.rank, w.size = int(rank), int(size)
	return nil
}

func (w *World) check(name string, code int32) error {
	if code == 0 {
		return nil
	}
	var text [512]byte // MPI_MAX_ERROR_STRING is 256
	var n int32
	if invoke(w.lib.errorString, uintptr(code), uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&n))) != 0 {
		n = 0
	}
	return fmt.Errorf("rank %d: %s: error %d: %s", w.rank, name, code, text[:max(0, min(int(n), len(text)))])
}

// Rank implements devices.Communicator.
func (w *World) Rank() int { return w.rank }

// Size implements devices.Communicator.
func (w *World) Size() int { return w.size }

// Close leaves in order, after the last call of every rank; it waits for the
// others to do so too. A rank that fails exits without it, which ends the job.
func (w *World) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.call(func() error { return w.check("MPI_Finalize", invoke(w.lib.finalize)) })
	close(w.calls)
	return err
}

// unit is the size and the library's type of the elements that offsets and sizes
// are counted in: four bytes where possible, because counts are 32 bits wide.
func (w *World) unit(at, n []int) (int, uintptr, error) {
	unit, typ := 4, w.lib.floats
	for i := range at {
		if at[i]%4 != 0 || n[i]%4 != 0 {
			unit, typ = 1, w.lib.bytes
		}
	}
	for i := range at {
		if (at[i]+n[i])/unit > math.MaxInt32 {
			return 0, 0, fmt.Errorf("mpi: %d bytes at %d are beyond what 32-bit counts reach: send fewer at once", n[i], at[i])
		}
	}
	return unit, typ, nil
}

func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(&b[0])
}

var nothing [4]byte

func (w *World) ready(at, n []int) error {
	switch {
	case w.closed:
		return errors.New("mpi: closed")
	case len(at) != w.size || len(n) != w.size:
		return fmt.Errorf("mpi: %d offsets and %d sizes for %d ranks", len(at), len(n), w.size)
	}
	return nil
}

// AllToAll implements devices.Communicator.
func (w *World) AllToAll(recv, send []byte, at, n []int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(at, n); err != nil {
		return err
	}
	unit, typ, err := w.unit(at, n)
	if err != nil {
		return err
	}
	mine := n[w.rank] / unit
	for r := range w.size {
		w.counts[r], w.displs[r] = int32(n[r]/unit), int32(at[r]/unit)
		w.own[r], w.ats[r] = int32(mine), int32(r*mine)
	}
	if len(recv) < w.size*n[w.rank] {
		return fmt.Errorf("mpi: %d bytes to receive, room for %d", w.size*n[w.rank], len(recv))
	}
	return w.call(func() error {
		return w.check("MPI_Alltoallv", invoke(w.lib.allToAllV,
			uintptr(pointer(send)), uintptr(unsafe.Pointer(&w.counts[0])), uintptr(unsafe.Pointer(&w.displs[0])), typ,
			uintptr(pointer(recv)), uintptr(unsafe.Pointer(&w.own[0])), uintptr(unsafe.Pointer(&w.ats[0])), typ, w.lib.world))
	})
}

// AllGather implements devices.Communicator.
func (w *World) AllGather(buf []byte, at, n []int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(at, n); err != nil {
		return err
	}
	unit, typ, err := w.unit(at, n)
	if err != nil {
		return err
	}
	for r := range w.size {
		w.counts[r], w.displs[r] = int32(n[r]/unit), int32(at[r]/unit)
		if at[r]+n[r] > len(buf) {
			return fmt.Errorf("mpi: %d bytes at %d are outside of %d", n[r], at[r], len(buf))
		}
	}
	return w.call(func() error {
		return w.check("MPI_Allgatherv", invoke(w.lib.allGatherV, inPlace, 0, typ,
			uintptr(pointer(buf)), uintptr(unsafe.Pointer(&w.counts[0])), uintptr(unsafe.Pointer(&w.displs[0])), typ, w.lib.world))
	})
}
