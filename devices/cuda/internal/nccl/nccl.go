// Package nccl calls NVIDIA's library of collective operations between GPUs,
// opened at run time without cgo. Types and numbers follow the reference manual
// of NCCL; version 2.23 or newer is needed, for an initialisation that takes
// the id by address.
package nccl

import (
	"fmt"
	"unsafe"

	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/devices/cuda/internal/dynlib"
)

// oldest is the first version with ncclCommInitRankScalable.
const oldest = 22300

// funcID numbers the functions that are used.
type funcID int

const (
	ncclGetVersion funcID = iota
	ncclGetErrorString
	ncclGetLastError
	ncclGetUniqueId
	ncclCommInitRankScalable
	ncclCommDestroy
	ncclCommAbort
	ncclCommGetAsyncError
	ncclGroupStart
	ncclGroupEnd
	ncclAllReduce
	ncclReduceScatter
	ncclReduce
	ncclAllGather
	ncclBroadcast
	numFuncs
)

var names = [numFuncs]string{
	ncclGetVersion:           "ncclGetVersion",
	ncclGetErrorString:       "ncclGetErrorString",
	ncclGetLastError:         "ncclGetLastError",
	ncclGetUniqueId:          "ncclGetUniqueId",
	ncclCommInitRankScalable: "ncclCommInitRankScalable",
	ncclCommDestroy:          "ncclCommDestroy",
	ncclCommAbort:            "ncclCommAbort",
	ncclCommGetAsyncError:    "ncclCommGetAsyncError",
	ncclGroupStart:           "ncclGroupStart",
	ncclGroupEnd:             "ncclGroupEnd",
	ncclAllReduce:            "ncclAllReduce",
	ncclReduceScatter:        "ncclReduceScatter",
	ncclReduce:               "ncclReduce",
	ncclAllGather:            "ncclAllGather",
	ncclBroadcast:            "ncclBroadcast",
}

// API is the loaded library. It is safe for concurrent use; calls act on the
// GPU whose context is the calling thread's current one.
type API struct {
	fn      [numFuncs]uintptr
	version int
}

// Version is such as 22809 for 2.28.9.
func (a *API) Version() int { return a.version }

// DataType is an element type (ncclDataType_t).
type DataType int32

// Element types.
const (
	Int8    DataType = 0
	Uint8   DataType = 1
	Int32   DataType = 2
	Float32 DataType = 7
)

// Op is a reduction (ncclRedOp_t).
type Op int32

// Reductions.
const (
	Sum Op = 0
	Max Op = 2
)

// results of calls (ncclResult_t) that are no errors.
const (
	success    = 0
	inProgress = 7
)

// IDBytes is the size of an ID.
const IDBytes = 128

// ID names a group of ranks that is about to form. One rank makes it and gives
// it to the others.
type ID [IDBytes]byte

// Comm is one rank's end of a group.
type Comm struct {
	a *API
	h uintptr
}

// Error is a call that failed.
type Error struct {
	Call   string
	Code   int
	Text   string
	Detail string // the library's last message, empty if it has none
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s (%d)", e.Call, e.Text, e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (a *API) error(call string, h uintptr, code int) error {
	text := func(p uintptr) string {
		if p == 0 {
			return ""
		}
		return cString(p)
	}
	return &Error{
		Call: call, Code: code,
		Text:   text(dynlib.Call(a.fn[ncclGetErrorString], uintptr(code))),
		Detail: text(dynlib.Call(a.fn[ncclGetLastError], h)),
	}
}

// cString copies a string of the library.
func cString(p uintptr) string {
	at := *(*unsafe.Pointer)(unsafe.Pointer(&p)) // memory of the library, which the collector does not move
	n := 0
	for *(*byte)(unsafe.Add(at, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(at), n))
}

//go:uintptrescapes
func (a *API) call(f funcID, h uintptr, args ...uintptr) error {
	if code := int32(dynlib.Call(a.fn[f], args...)); code != success {
		return a.error(names[f], h, int(code))
	}
	return nil
}

// NewID makes an ID, on one rank.
func (a *API) NewID() (ID, error) {
	var id ID
	err := a.call(ncclGetUniqueId, 0, uintptr(unsafe.Pointer(&id[0])))
	return id, err
}

// Join forms the group of the given ID: it returns when all of size ranks have
// called it, each on a thread of its own whose current context is that of its
// GPU.
func (a *API) Join(id ID, rank, size int) (*Comm, error) {
	c := &Comm{a: a}
	// No configuration: calls block, which capturing a stream needs.
	err := a.call(ncclCommInitRankScalable, 0, uintptr(unsafe.Pointer(&c.h)), uintptr(size), uintptr(rank),
		1, uintptr(unsafe.Pointer(&id[0])), 0)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Destroy frees c when its work is done. Graphs that hold calls of c are
// destroyed before.
func (c *Comm) Destroy() error { return c.a.call(ncclCommDestroy, c.h, c.h) }

// Abort ends c and the work under way on it, so that streams which wait for a
// rank that is gone go on, with wrong results. It returns when no graph holds
// calls of c any more. Another thread than the one that uses c may call it.
func (c *Comm) Abort() error { return c.a.call(ncclCommAbort, 0, c.h) }

// Err is why work that was queued before has failed, nil while it has not.
func (c *Comm) Err() error {
	var code int32
	if err := c.a.call(ncclCommGetAsyncError, c.h, c.h, uintptr(unsafe.Pointer(&code))); err != nil {
		return err
	}
	if code == success || code == inProgress {
		return nil
	}
	return c.a.error("a collective operation", c.h, int(code))
}

// Group runs f, whose calls then are one: nothing is queued before f returns,
// and the order of the calls does not matter. It stays on one thread, as does f.
func (a *API) Group(f func() error) error {
	if err := a.call(ncclGroupStart, 0); err != nil {
		return err
	}
	err := f()
	if e := a.call(ncclGroupEnd, 0); err == nil {
		err = e
	}
	return err
}

// AllReduce queues y = the reduction of all ranks' x of n elements. x may be y.
func (c *Comm) AllReduce(x, y driver.Ptr, n int, t DataType, op Op, s driver.Stream) error {
	return c.a.call(ncclAllReduce, c.h, uintptr(x), uintptr(y), uintptr(n), uintptr(t), uintptr(op), c.h, uintptr(s))
}

// ReduceScatter queues y = this rank's n elements of the reduction of all ranks'
// x, which has n for each rank.
func (c *Comm) ReduceScatter(x, y driver.Ptr, n int, t DataType, op Op, s driver.Stream) error {
	return c.a.call(ncclReduceScatter, c.h, uintptr(x), uintptr(y), uintptr(n), uintptr(t), uintptr(op), c.h, uintptr(s))
}

// Reduce is AllReduce for one rank, root; y is not written on the others.
func (c *Comm) Reduce(x, y driver.Ptr, n int, t DataType, op Op, root int, s driver.Stream) error {
	return c.a.call(ncclReduce, c.h, uintptr(x), uintptr(y), uintptr(n), uintptr(t), uintptr(op), uintptr(root), c.h, uintptr(s))
}

// AllGather queues y = all ranks' x of n elements, one after another. x may be
// its place in y.
func (c *Comm) AllGather(x, y driver.Ptr, n int, t DataType, s driver.Stream) error {
	return c.a.call(ncclAllGather, c.h, uintptr(x), uintptr(y), uintptr(n), uintptr(t), c.h, uintptr(s))
}

// Broadcast queues y = the n elements x of rank root. x may be y, and is not
// read on other ranks.
func (c *Comm) Broadcast(x, y driver.Ptr, n int, t DataType, root int, s driver.Stream) error {
	return c.a.call(ncclBroadcast, c.h, uintptr(x), uintptr(y), uintptr(n), uintptr(t), uintptr(root), c.h, uintptr(s))
}
