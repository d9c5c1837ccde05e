package nccl

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBesidePython finds the library of a package in a virtual environment
// whose interpreter is a link to that of the system.
func TestBesidePython(t *testing.T) {
	system, venv := filepath.Join(t.TempDir(), "usr"), filepath.Join(t.TempDir(), "venv")
	var want []string
	for _, dir := range []string{filepath.Join(venv, "lib", "python3.12", "site-packages"), filepath.Join(system, "lib", "python3.11", "dist-packages")} {
		lib := filepath.Join(dir, "nvidia", "nccl", "lib", library)
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
	if got := beside(pythons()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLoadSaysWhatIsMissing, with the name of a library that is none.
func TestLoadSaysWhatIsMissing(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "libnothing.so")
	t.Setenv(LibraryEnv, bad)
	_, err := Load()
	if err == nil || !strings.Contains(err.Error(), LibraryEnv) && !strings.Contains(err.Error(), "-tags cuda") {
		t.Errorf("%v", err)
	}
}
