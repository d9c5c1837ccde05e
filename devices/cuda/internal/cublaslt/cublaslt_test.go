package cublaslt

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadIsAskedFor: nothing is opened unasked, and what is asked for and is not
// there is named.
func TestLoadIsAskedFor(t *testing.T) {
	t.Setenv(LibraryEnv, "")
	if _, err := Load(); !errors.Is(err, ErrNotAsked) {
		t.Errorf("unasked: %v", err)
	}
	t.Setenv(LibraryEnv, filepath.Join(t.TempDir(), "libnothing.so"))
	if _, err := Load(); err == nil || !strings.Contains(err.Error(), LibraryEnv) && !strings.Contains(err.Error(), "-tags cuda") {
		t.Errorf("a library that is not there: %v", err)
	}
}
