package golden

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Env, dir)
	if got := Dir(t); got != dir {
		t.Errorf("Dir = %q, want %q", got, dir)
	}
	want := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(want, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := Path(t, "a", "b"); got != want {
		t.Errorf("Path = %q, want %q", got, want)
	}
}

func TestModuleRoot(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "internal", "golden"); here != want {
		t.Errorf("root %q: want working directory %q, have %q", root, want, here)
	}
}

func TestDirSkipsOnlyWhenAbsent(t *testing.T) {
	t.Setenv(Env, "")
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	present := isDir(filepath.Join(filepath.Dir(root), "shared", "golden"))
	var skipped bool
	t.Run("dir", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Dir(t)
	})
	if skipped == present {
		t.Errorf("folder present: %v, test skipped: %v", present, skipped)
	}
}
