package nccl

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/trit-ml/trit/devices/cuda/internal/dynlib"
)

// library is the soname of NCCL 2.
const library = "libnccl.so.2"

// LibraryEnv names the library to open, instead of a search.
const LibraryEnv = "TRIT_NCCL_LIBRARY"

// Load opens the library that LibraryEnv names or, without one, the system's or
// one that a Python installation brings along.
func Load() (*API, error) {
	h, path, err := open()
	if err != nil {
		return nil, err
	}
	a := &API{}
	for id, name := range names {
		if a.fn[id], err = h.Symbol(name); err != nil {
			return nil, fmt.Errorf("%s lacks %s: NCCL 2.23 or newer is needed; install one, or name it in %s", path, name, LibraryEnv)
		}
	}
	var v int32
	if err := a.call(ncclGetVersion, 0, uintptr(unsafe.Pointer(&v))); err != nil {
		return nil, err
	}
	if a.version = int(v); a.version < oldest {
		return nil, fmt.Errorf("%s is NCCL %d.%d: 2.23 or newer is needed; install one, or name it in %s", path, v/10000, v/100%100, LibraryEnv)
	}
	return a, nil
}

func open() (dynlib.Handle, string, error) {
	h, path, err := dynlib.Find(LibraryEnv, library)
	if err != nil && !errors.Is(err, dynlib.ErrNotBuilt) {
		err = fmt.Errorf("no NCCL, which joins GPUs: %w; install it (Debian: apt-get install libnccl2; Python: pip install nvidia-nccl-cu13), or name the library in %s", err, LibraryEnv)
	}
	return h, path, err
}
