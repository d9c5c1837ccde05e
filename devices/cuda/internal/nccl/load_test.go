package nccl

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadSaysWhatIsMissing, with the name of a library that is none.
func TestLoadSaysWhatIsMissing(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "libnothing.so")
	t.Setenv(LibraryEnv, bad)
	_, err := Load()
	if err == nil || !strings.Contains(err.Error(), LibraryEnv) && !strings.Contains(err.Error(), "-tags cuda") {
		t.Errorf("%v", err)
	}
}
