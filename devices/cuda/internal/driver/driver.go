// Package driver calls the CUDA driver API (libcuda) without cgo and without
// CUDA at build time. The library is opened at run time. Only a
// build with the tag cuda on linux/amd64 and linux/arm64 links the dynamic loader;
// everywhere else Load says how to get it.
//
// Functions and constants follow NVIDIA's "CUDA Driver API" reference manual.
// Handles are opaque words of the driver; device addresses are Ptr and never
// Go pointers.
package driver

import (
	"fmt"
	"sync"
	"unsafe"
)

// Handles of the driver.
type (
	Context   uintptr
	Module    uintptr
	Function  uintptr
	Stream    uintptr
	Event     uintptr
	Graph     uintptr
	GraphExec uintptr
	Device    int32
	Ptr       uint64 // address in device memory
)

// API is the loaded driver. It is safe for concurrent use; calls that need a
// current context act on the calling thread's.
type API struct {
	fn [numFuncs]uintptr
}

// Load opens the driver library, resolves every function and initialises it.
func Load() (*API, error) {
	a := &API{}
	if err := load(a); err != nil {
		return nil, err
	}
	if err := a.call(cuInit, 0); err != nil {
		return nil, err
	}
	return a, nil
}

// Error is a driver call that failed.
type Error struct {
	Call string
	Code int
	Name string // such as CUDA_ERROR_OUT_OF_MEMORY
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// The error codes that callers treat specially.
const (
	ErrorOutOfMemory           = 2
	ErrorNoDevice              = 100
	ErrorInvalidDevice         = 101
	ErrorUnsupportedPTXVersion = 222
	ErrorNotReady              = 600
)

// call returns the driver's status as an error. The directive keeps Go objects
// whose addresses appear in the argument list alive and in place; its price is
// that the list is allocated.
//
//go:uintptrescapes
func (a *API) call(f funcID, args ...uintptr) error {
	if code := invoke(a.fn[f], args...); code != 0 {
		return a.error(f, int(code))
	}
	return nil
}

// words is call for arguments that are no addresses of Go objects. It does not
// allocate.
func (a *API) words(f funcID, args ...uintptr) error {
	if code := a.status(f, args...); code != 0 {
		return a.error(f, int(code))
	}
	return nil
}

func (a *API) status(f funcID, args ...uintptr) uint32 {
	list := lists.Get().(*[maxArgs]uintptr)
	code := invoke(a.fn[f], list[:copy(list[:], args)]...)
	lists.Put(list)
	return code
}

// maxArgs is the most arguments that words passes.
const maxArgs = 11

var lists = sync.Pool{New: func() any { return new([maxArgs]uintptr) }}

func (a *API) error(f funcID, code int) error {
	e := &Error{Call: names[f], Code: code, Name: "unknown error"}
	var name, text *byte
	if invoke(a.fn[cuGetErrorName], uintptr(code), uintptr(unsafe.Pointer(&name))) == 0 && name != nil {
		e.Name = cString(name)
	}
	if invoke(a.fn[cuGetErrorString], uintptr(code), uintptr(unsafe.Pointer(&text))) == 0 && text != nil {
		e.Text = cString(text)
	}
	return e
}

func cString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// Version is the newest CUDA version the driver supports, as 1000*major +
// 10*minor.
func (a *API) Version() (int, error) {
	var v int32
	err := a.call(cuDriverGetVersion, uintptr(unsafe.Pointer(&v)))
	return int(v), err
}

// DeviceCount is the number of visible GPUs.
func (a *API) DeviceCount() (int, error) {
	var n int32
	err := a.call(cuDeviceGetCount, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// Device returns the handle of the i-th GPU.
func (a *API) Device(i int) (Device, error) {
	var d Device
	err := a.call(cuDeviceGet, uintptr(unsafe.Pointer(&d)), uintptr(i))
	return d, err
}

// DeviceName is the GPU's marketing name.
func (a *API) DeviceName(d Device) (string, error) {
	buf := make([]byte, 256)
	err := a.call(cuDeviceGetName, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)-1), uintptr(d))
	return cString(&buf[0]), err
}

// DeviceMemory is the GPU's memory in bytes.
func (a *API) DeviceMemory(d Device) (uint64, error) {
	var n uint64
	err := a.call(cuDeviceTotalMem, uintptr(unsafe.Pointer(&n)), uintptr(d))
	return n, err
}

// Attribute names a number that a GPU states about itself.
type Attribute int32

// Device attributes (CUdevice_attribute).
const (
	MultiprocessorCount  Attribute = 16
	MemoryClockKHz       Attribute = 36
	MemoryBusBits        Attribute = 37
	L2CacheBytes         Attribute = 38
	ComputeMajor         Attribute = 75
	ComputeMinor         Attribute = 76
	SharedPerBlockOptIn  Attribute = 97
	MaxFuncDynamicShared Attribute = 8  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
	LargeClusters        Attribute = 14 // CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
	SharedCarveout       Attribute = 9  // CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, percent
)

// DeviceAttribute reads one attribute.
func (a *API) DeviceAttribute(d Device, at Attribute) (int, error) {
	var v int32
	err := a.call(cuDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(at), uintptr(d))
	return int(v), err
}

// RetainPrimary returns the GPU's primary context, shared by the process.
func (a *API) RetainPrimary(d Device) (Context, error) {
	var c Context
	err := a.call(cuDevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&c)), uintptr(d))
	return c, err
}

// ReleasePrimary undoes RetainPrimary.
func (a *API) ReleasePrimary(d Device) error { return a.call(cuDevicePrimaryCtxRelease, uintptr(d)) }

// SetCurrent makes c the calling thread's context.
func (a *API) SetCurrent(c Context) error { return a.words(cuCtxSetCurrent, uintptr(c)) }

// LoadModule compiles PTX text, which must end in a zero byte, for the current
// context's GPU. On failure the compiler's log is part of the error.
func (a *API) LoadModule(ptx []byte) (Module, error) {
	const errorLogBuffer, errorLogBufferBytes = 5, 6
	log := make([]byte, 8192)
	keys := []int32{errorLogBuffer, errorLogBufferBytes}
	vals := []uintptr{uintptr(unsafe.Pointer(&log[0])), uintptr(len(log) - 1)}
	var m Module
	err := a.call(cuModuleLoadDataEx, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&ptx[0])),
		uintptr(len(keys)), uintptr(unsafe.Pointer(&keys[0])), uintptr(unsafe.Pointer(&vals[0])),
		uintptr(unsafe.Pointer(&log[0]))) // the last keeps log alive; the driver does not read it
	if err != nil && log[0] != 0 {
		err = fmt.Errorf("%w: %s", err, cString(&log[0]))
	}
	return m, err
}

// UnloadModule frees m.
func (a *API) UnloadModule(m Module) error { return a.call(cuModuleUnload, uintptr(m)) }

// ModuleFunction finds a kernel by name.
func (a *API) ModuleFunction(m Module, name string) (Function, error) {
	var f Function
	z := append([]byte(name), 0)
	err := a.call(cuModuleGetFunction, uintptr(unsafe.Pointer(&f)), uintptr(m), uintptr(unsafe.Pointer(&z[0])))
	return f, err
}

// SetFunctionAttribute changes one attribute of a kernel.
func (a *API) SetFunctionAttribute(f Function, at Attribute, v int) error {
	return a.call(cuFuncSetAttribute, uintptr(f), uintptr(at), uintptr(v))
}
