package cublaslt

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoad: the library can be switched off, and one that is named and is not
// there is an error that says who named it.
func TestLoad(t *testing.T) {
	t.Setenv(LibraryEnv, Off)
	if _, err := Load(); !errors.Is(err, ErrOff) {
		t.Errorf("switched off: %v", err)
	}
	t.Setenv(LibraryEnv, filepath.Join(t.TempDir(), "libnothing.so"))
	if _, err := Load(); err == nil || !strings.Contains(err.Error(), LibraryEnv) && !strings.Contains(err.Error(), "-tags cuda") {
		t.Errorf("a library that is not there: %v", err)
	}
}
