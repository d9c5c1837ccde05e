package dynlib

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Find opens the library that the environment variable env names or, if it is
// not set, the first of the sonames that the system has or that a Python
// installation brings along in its packages named nvidia. It also returns the
// name under which the library was opened.
func Find(env string, sonames ...string) (Handle, string, error) {
	if l := os.Getenv(env); l != "" {
		h, err := Open(l)
		if err != nil && !errors.Is(err, ErrNotBuilt) {
			err = fmt.Errorf("from %s: %w", env, err)
		}
		return h, l, err
	}
	var errs []error
	for _, name := range sonames {
		h, err := Open(name)
		if err == nil || errors.Is(err, ErrNotBuilt) {
			return h, name, err
		}
		errs = append(errs, err)
	}
	for _, path := range beside(pythons(), sonames) {
		h, err := Open(path)
		if err == nil {
			return h, path, nil
		}
		errs = append(errs, err)
	}
	return 0, "", errors.Join(errs...)
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
func beside(prefixes, sonames []string) []string {
	var found []string
	for _, p := range prefixes {
		for _, lib := range []string{"lib", "lib64", "local/lib"} {
			for _, packages := range []string{"site-packages", "dist-packages"} {
				for _, name := range sonames {
					m, err := filepath.Glob(filepath.Join(p, lib, "python3*", packages, "nvidia", "*", "lib", name))
					if err == nil {
						found = append(found, m...)
					}
				}
			}
		}
	}
	return found
}
