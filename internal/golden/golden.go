// Package golden finds the reference files that the tests compare against.
//
// The references are not part of the module: they are large, partly under
// other licences, and shared by every checkout. They lie in ../shared/golden
// beside the module root, or where the environment variable TRIT_GOLDEN says.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Env names the environment variable that overrides the folder.
const Env = "TRIT_GOLDEN"

// Dir returns the folder of golden files. It skips the test only where the
// folder is absent; a folder named by TRIT_GOLDEN that is absent is an error,
// because somebody asked for it.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(Env); dir != "" {
		if !isDir(dir) {
			t.Fatalf("golden: %s=%s is not a folder", Env, dir)
		}
		return dir
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	dir := filepath.Join(filepath.Dir(root), "shared", "golden")
	if !isDir(dir) {
		t.Skipf("golden: no folder ../shared/golden beside the module root; set %s to run this test", Env)
	}
	return dir
}

// Path returns the path of one golden file. A missing file inside a present
// folder fails the test: a skip there would hide a broken reference set.
func Path(t testing.TB, elems ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{Dir(t)}, elems...)...)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("golden: %v", err)
	}
	return path
}

// moduleRoot walks up from the working directory, which go test sets to the
// package's folder, to the folder that holds go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", os.ErrNotExist
		}
		dir = parent
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
