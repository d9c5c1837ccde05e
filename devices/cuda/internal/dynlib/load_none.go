//go:build !(cuda && linux && (amd64 || arm64))

package dynlib

// Open opens the library of the given path or soname.
func Open(string) (Handle, error) { return 0, ErrNotBuilt }

// Symbol returns the address of a function.
func (Handle) Symbol(string) (uintptr, error) { return 0, ErrNotBuilt }

// Call is not reached: there is no function to call.
func Call(uintptr, ...uintptr) uintptr { return ^uintptr(0) }

// MaxArgs is the most arguments that CallMany passes.
const MaxArgs = 16

// CallMany is Call for up to MaxArgs arguments.
func CallMany(uintptr, ...uintptr) uintptr { return ^uintptr(0) }
