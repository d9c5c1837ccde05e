package dynlib

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestBesidePython finds the library of a package in a virtual environment
// whose interpreter is a link to that of the system.
func TestBesidePython(t *testing.T) {
	const library = "libthing.so.2"
	system, venv := filepath.Join(t.TempDir(), "usr"), filepath.Join(t.TempDir(), "venv")
	var want []string
	for _, dir := range []string{filepath.Join(venv, "lib", "python3.12", "site-packages"), filepath.Join(system, "lib", "python3.11", "dist-packages")} {
		lib := filepath.Join(dir, "nvidia", "thing", "lib", library)
		if err := os.MkdirAll(filepath.Dir(lib), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lib, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		want = append(want, lib)
	}
	for _, dir := range []string{system, venv} {
		if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	python := filepath.Join(system, "bin", "python3")
	if err := os.WriteFile(python, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(python, filepath.Join(venv, "bin", "python3")); err != nil {
		t.Skip(err)
	}
	t.Setenv("VIRTUAL_ENV", "")
	t.Setenv("PATH", filepath.Join(venv, "bin"))
	if got := beside(pythons(), []string{"libthing.so.3", library}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
