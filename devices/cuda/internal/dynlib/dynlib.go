// Package dynlib opens shared libraries at run time and calls their functions,
// without cgo. Only a build with the tag cuda on linux/amd64 and linux/arm64
// links the dynamic loader; elsewhere Open returns ErrNotBuilt.
package dynlib

import "errors"

// ErrNotBuilt says that this program cannot open libraries.
var ErrNotBuilt = errors.New("this program was built without CUDA; build it for linux/amd64 or linux/arm64 with -tags cuda, or choose another device")

// Handle is an open library.
type Handle uintptr
