//go:build cuda && linux && (amd64 || arm64)

package dynlib

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// Open opens the library of the given path or soname.
func Open(name string) (Handle, error) {
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	return Handle(h), err
}

// Symbol returns the address of a function.
func (h Handle) Symbol(name string) (uintptr, error) { return purego.Dlsym(uintptr(h), name) }

// Call calls a C function of integer and pointer arguments and returns what it
// returns. Go objects whose addresses appear in the argument list stay alive
// and in place.
//
//go:uintptrescapes
func Call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// MaxArgs is the most arguments that CallMany passes.
const MaxArgs = 16

// manyAt is the address of a C function in many_*.s.
var manyAt uintptr

// CallMany is Call for up to MaxArgs arguments, one more than purego passes.
//
//go:uintptrescapes
func CallMany(fn uintptr, args ...uintptr) uintptr {
	block := new([1 + MaxArgs]uintptr)
	block[0] = fn
	copy(block[1:], args)
	r, _, _ := purego.SyscallN(manyAt, uintptr(unsafe.Pointer(block)))
	return r
}
