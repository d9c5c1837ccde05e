package nccl

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if l := os.Getenv(LibraryEnv); l != "" {
		h, err := dynlib.Open(l)
		if err != nil && !errors.Is(err, dynlib.ErrNotBuilt) {
			err = fmt.Errorf("NCCL from %s: %w", LibraryEnv, err)
		}
		return h, l, err
	}
	h, err := dynlib.Open(library)
	if err == nil || errors.Is(err, dynlib.ErrNotBuilt) {
		return h, library, err
	}
	errs := []error{err}
	for _, path := range beside(pythons()) {
		h, err := dynlib.Open(path)
		if err == nil {
			return h, path, nil
		}
		errs = append(errs, err)
	}
	return 0, "", fmt.Errorf("no NCCL, which joins GPUs: %w; install it (Debian: apt-get install libnccl2; Python: pip install nvidia-nccl-cu13), or name the library in %s", errors.Join(errs...), LibraryEnv)
}

// pythons lists the folders that Python may be installed under.
func pythons() []string {
	var dirs []string
	add := func(dir string) {
		if dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	add(os.Getenv("VIRTUAL_ENV"))
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		// A virtual environment's interpreter is a link to another one's.
		add(filepath.Dir(filepath.Dir(path)))
		if path, err = filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(filepath.Dir(path)))
		}
	}
	return dirs
}

// beside lists the libraries of Python packages under the given folders.
func beside(prefixes []string) []string {
	var found []string
	for _, p := range prefixes {
		for _, lib := range []string{"lib", "lib64", "local/lib"} {
			for _, packages := range []string{"site-packages", "dist-packages"} {
				m, err := filepath.Glob(filepath.Join(p, lib, "python3*", packages, "nvidia", "nccl", "lib", library))
				if err == nil {
					found = append(found, m...)
				}
			}
		}
	}
	return found
}
