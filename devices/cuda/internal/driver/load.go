package driver

import (
	"errors"
	"fmt"
	"os"

	"github.com/trit-ml/trit/devices/cuda/internal/dynlib"
)

// Library is the soname that every NVIDIA driver installs.
const library = "libcuda.so.1"

// libraryEnv names another library to open in its place, such as the emulator
// of devices/cuda/emulator.
const libraryEnv = "TRIT_CUDA_DRIVER"

func load(a *API) error {
	library := library
	if l := os.Getenv(libraryEnv); l != "" {
		library = l
	}
	h, err := dynlib.Open(library)
	if errors.Is(err, dynlib.ErrNotBuilt) {
		return err
	}
	if err != nil {
		return fmt.Errorf("no NVIDIA driver: %w; install the driver, or choose another device", err)
	}
	for id, name := range names {
		if a.fn[id], err = h.Symbol(name); err != nil {
			return fmt.Errorf("the NVIDIA driver is too old: %s lacks %s; install driver 525 (CUDA 12.0) or newer", library, name)
		}
	}
	return nil
}

//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) uint32 { return uint32(dynlib.Call(fn, args...)) }
