package driver

import (
	"errors"
	"unsafe"
)

// MemInfo is the free and the total memory of the current context's GPU.
func (a *API) MemInfo() (free, total uint64, err error) {
	var v [2]uint64
	err = a.call(cuMemGetInfo, uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&v[1])))
	return v[0], v[1], err
}

// MemAlloc allocates device memory, aligned to 256 bytes.
func (a *API) MemAlloc(n int) (Ptr, error) {
	var p Ptr
	err := a.call(cuMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n))
	return p, err
}

// MemFree frees device memory after everything that uses it is done.
func (a *API) MemFree(p Ptr) error { return a.call(cuMemFree, uintptr(p)) }

// HostAlloc allocates page-locked host memory outside the Go heap.
func (a *API) HostAlloc(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := a.call(cuMemHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n), 0); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// HostFree frees memory of HostAlloc.
func (a *API) HostFree(b []byte) error {
	return a.call(cuMemFreeHost, uintptr(unsafe.Pointer(&b[0])))
}

// Zero sets n bytes to zero.
func (a *API) Zero(p Ptr, n int, s Stream) error {
	return a.words(cuMemsetD8Async, uintptr(p), 0, uintptr(n), uintptr(s))
}

// CopyIn copies src to the device. It returns once src has been read.
func (a *API) CopyIn(dst Ptr, src []byte, s Stream) error {
	return a.call(cuMemcpyHtoDAsync, uintptr(dst), uintptr(unsafe.Pointer(&src[0])), uintptr(len(src)), uintptr(s))
}

// CopyOut copies to the host. It returns once the copy is done.
func (a *API) CopyOut(dst []byte, src Ptr, s Stream) error {
	return a.call(cuMemcpyDtoHAsync, uintptr(unsafe.Pointer(&dst[0])), uintptr(src), uintptr(len(dst)), uintptr(s))
}

// CopyInLocked is CopyIn from memory of HostAlloc. It returns at once.
func (a *API) CopyInLocked(dst Ptr, src []byte, s Stream) error {
	return a.words(cuMemcpyHtoDAsync, uintptr(dst), uintptr(unsafe.Pointer(&src[0])), uintptr(len(src)), uintptr(s))
}

// CopyOutLocked is CopyOut to memory of HostAlloc. It returns at once.
func (a *API) CopyOutLocked(dst []byte, src Ptr, s Stream) error {
	return a.words(cuMemcpyDtoHAsync, uintptr(unsafe.Pointer(&dst[0])), uintptr(src), uintptr(len(dst)), uintptr(s))
}

// CopyDevice copies n bytes inside device memory.
func (a *API) CopyDevice(dst, src Ptr, n int, s Stream) error {
	return a.words(cuMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(n), uintptr(s))
}

// NewStream makes a stream that does not synchronise with the default stream.
func (a *API) NewStream() (Stream, error) {
	const nonBlocking = 1
	var s Stream
	err := a.call(cuStreamCreate, uintptr(unsafe.Pointer(&s)), nonBlocking)
	return s, err
}

// DestroyStream frees s once its work is done; it does not wait.
func (a *API) DestroyStream(s Stream) error { return a.call(cuStreamDestroy, uintptr(s)) }

// StreamSync waits for everything queued on s.
func (a *API) StreamSync(s Stream) error { return a.words(cuStreamSynchronize, uintptr(s)) }

// StreamDone reports whether everything queued on s is done.
func (a *API) StreamDone(s Stream) (bool, error) {
	return a.done(cuStreamQuery, uintptr(s))
}

// EventDone reports whether everything queued before e was recorded last is done.
func (a *API) EventDone(e Event) (bool, error) { return a.done(cuEventQuery, uintptr(e)) }

func (a *API) done(f funcID, of uintptr) (bool, error) {
	switch code := a.status(f, of); code {
	case 0:
		return true, nil
	case ErrorNotReady:
		return false, nil
	default:
		return false, a.error(f, int(code))
	}
}

// BeginCapture records what is queued on s instead of running it. Only the
// calling thread is restricted while it lasts.
func (a *API) BeginCapture(s Stream) error {
	const threadLocal = 1
	return a.call(cuStreamBeginCapture, uintptr(s), threadLocal)
}

// EndCapture returns what was recorded.
func (a *API) EndCapture(s Stream) (Graph, error) {
	var g Graph
	err := a.call(cuStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&g)))
	return g, err
}

// Instantiate makes g executable.
func (a *API) Instantiate(g Graph) (GraphExec, error) {
	var e GraphExec
	err := a.call(cuGraphInstantiate, uintptr(unsafe.Pointer(&e)), uintptr(g), 0)
	return e, err
}

// DestroyGraph frees g; an instance made of it stays.
func (a *API) DestroyGraph(g Graph) error { return a.call(cuGraphDestroy, uintptr(g)) }

// LaunchGraph enqueues e on s.
func (a *API) LaunchGraph(e GraphExec, s Stream) error {
	return a.words(cuGraphLaunch, uintptr(e), uintptr(s))
}

// DestroyExec frees e.
func (a *API) DestroyExec(e GraphExec) error { return a.call(cuGraphExecDestroy, uintptr(e)) }

// NewEvent makes an event that records time.
func (a *API) NewEvent() (Event, error) {
	var e Event
	err := a.call(cuEventCreate, uintptr(unsafe.Pointer(&e)), 0)
	return e, err
}

// NewEdge makes an event that records no time, for Wait.
func (a *API) NewEdge() (Event, error) {
	const disableTiming = 2
	var e Event
	err := a.call(cuEventCreate, uintptr(unsafe.Pointer(&e)), disableTiming)
	return e, err
}

// Wait lets what is queued on s from now on wait for e as recorded last. If e
// was recorded on a stream in capture, s becomes part of that capture.
func (a *API) Wait(s Stream, e Event) error {
	return a.words(cuStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

// Record enqueues e on s.
func (a *API) Record(e Event, s Stream) error {
	return a.words(cuEventRecord, uintptr(e), uintptr(s))
}

// Elapsed is the milliseconds between two recorded events.
func (a *API) Elapsed(from, to Event) (float32, error) {
	var ms float32
	err := a.call(cuEventElapsedTime, uintptr(unsafe.Pointer(&ms)), uintptr(from), uintptr(to))
	return ms, err
}

// DestroyEvent frees e.
func (a *API) DestroyEvent(e Event) error { return a.call(cuEventDestroy, uintptr(e)) }

// Dim is a grid's or a block's extents.
type Dim struct{ X, Y, Z uint32 }

// LaunchKernel enqueues a kernel. params points at one pointer per parameter;
// it and what it points at are read before the call returns.
func (a *API) LaunchKernel(f Function, grid, block Dim, shared uint32, s Stream, params *unsafe.Pointer) error {
	return a.call(cuLaunchKernel, uintptr(f), uintptr(grid.X), uintptr(grid.Y), uintptr(grid.Z),
		uintptr(block.X), uintptr(block.Y), uintptr(block.Z), uintptr(shared), uintptr(s),
		uintptr(unsafe.Pointer(params)), 0)
}

// LaunchLocked is LaunchKernel with the pointers to parameters in params, all of it in
// memory of HostAlloc. It does not allocate.
func (a *API) LaunchLocked(f Function, grid, block Dim, s Stream, params []byte) error {
	return a.words(cuLaunchKernel, uintptr(f), uintptr(grid.X), uintptr(grid.Y), uintptr(grid.Z),
		uintptr(block.X), uintptr(block.Y), uintptr(block.Z), 0, uintptr(s), uintptr(unsafe.Pointer(&params[0])), 0)
}

// launchConfig is CUlaunchConfig, launchAttribute CUlaunchAttribute.
type launchConfig struct {
	grid, block Dim
	shared      uint32
	stream      Stream
	attributes  *launchAttribute
	count       uint32
}

type launchAttribute struct {
	id    int32
	_     int32
	value [16]uint32
}

// LaunchKernelEarly is LaunchKernel for a kernel that may start before the one
// enqueued before it is done; it executes griddepcontrol.wait itself.
func (a *API) LaunchKernelEarly(f Function, grid, block Dim, shared uint32, s Stream, params *unsafe.Pointer) error {
	const programmaticStreamSerialization = 6
	c := &struct {
		config    launchConfig
		attribute launchAttribute
	}{launchConfig{grid: grid, block: block, shared: shared, stream: s, count: 1},
		launchAttribute{id: programmaticStreamSerialization, value: [16]uint32{1}}}
	c.config.attributes = &c.attribute
	return a.call(cuLaunchKernelEx, uintptr(unsafe.Pointer(&c.config)), uintptr(f), uintptr(unsafe.Pointer(params)), 0)
}

// IsCode reports whether err is a driver error with the given code.
func IsCode(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
