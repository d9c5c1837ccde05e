//go:build mpi && (linux || darwin) && (amd64 || arm64)

package mpi

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/ebitengine/purego"
)

// Built reports whether this program can join processes.
const Built = true

// libraries are the names under which systems install Open MPI's C library.
var libraries = map[string][]string{
	"linux":  {"libmpi.so.40", "libmpi.so"},
	"darwin": {"libmpi.40.dylib", "libmpi.dylib", "/opt/homebrew/lib/libmpi.40.dylib", "/usr/local/lib/libmpi.40.dylib"},
}

func load(l *library) error {
	var h uintptr
	var errs []error
	for _, name := range libraries[runtime.GOOS] {
		// Global: the library's own plug-ins look for its symbols.
		var err error
		if h, err = purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL); err == nil {
			break
		}
		h = 0
		errs = append(errs, err)
	}
	if h == 0 {
		return fmt.Errorf("no Open MPI library: %w; install it (Debian: apt-get install openmpi-bin libopenmpi3)", errors.Join(errs...))
	}
	for name, to := range l.symbols() {
		var err error
		if *to, err = purego.Dlsym(h, name); err != nil {
			return fmt.Errorf("the MPI library is not Open MPI, or not of version 2 to 4: it lacks %s: %w", name, err)
		}
	}
	return nil
}

//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) int32 {
	r, _, _ := purego.SyscallN(fn, args...)
	return int32(r)
}
