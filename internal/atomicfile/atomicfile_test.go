package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCommitReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("before Commit: %q", got)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("after Commit: %q", got)
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close after Commit: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Commit: %v", err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestCloseDiscards(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("half"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" || len(names(t, dir)) != 1 {
		t.Errorf("content %q, folder %v", got, names(t, dir))
	}
}

func TestPermissionsFollowUmask(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "ours")
	if err := WriteFile(ours, nil); err != nil {
		t.Fatal(err)
	}
	a, _ := os.Stat(plain)
	b, _ := os.Stat(ours)
	if a.Mode() != b.Mode() {
		t.Errorf("mode %v, an ordinary file has %v", b.Mode(), a.Mode())
	}
}

func TestDir(t *testing.T) {
	parent := t.TempDir()
	target := filepath.Join(parent, "sub", "model")
	d, err := CreateDir(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(d.Path("a"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("visible before Commit: %v", err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, target); len(got) != 1 || got[0] != "a" {
		t.Errorf("folder holds %v", got)
	}
	if _, err := CreateDir(target); !errors.Is(err, os.ErrExist) {
		t.Errorf("a full folder was taken: %v", err)
	}

	// A folder that fills while ours is written is not overwritten.
	other := filepath.Join(parent, "other")
	d, err = CreateDir(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(other, "theirs"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); !errors.Is(err, os.ErrExist) {
		t.Errorf("Commit over a full folder: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, parent); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

func TestReplaceDir(t *testing.T) {
	parent := t.TempDir()
	target := filepath.Join(parent, "model")
	for _, text := range []string{"old", "new"} {
		d, err := ReplaceDir(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(d.Path("a"), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(target, "a")); string(got) != text {
			t.Errorf("content %q, want %q", got, text)
		}
	}
	if err := RemoveAll(target); err != nil {
		t.Fatal(err)
	}
	if got := names(t, parent); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestLink: the link replaces a file, also itself, and becomes a copy where the
// system has no links.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, p := range []string{from, to} {
		if err := WriteFile(p, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	defer Intercept(func(op, _ string) error { return nil })()
	for _, refuse := range []bool{false, false, true} {
		Intercept(func(op, _ string) error {
			if refuse && op == OpLink {
				return errors.ErrUnsupported
			}
			return nil
		})
		if refuse {
			if err := WriteFile(from, []byte("copied")); err != nil {
				t.Fatal(err)
			}
		}
		if err := Link(from, to); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(from)
		if got, _ := os.ReadFile(to); string(got) != string(want) {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

// TestEveryFailure: whichever operation fails, the old content stays or the new
// is complete, and a sweep leaves nothing else.
func TestEveryFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, dead := range []bool{false, true} { // one operation fails, or all from there on
		for n := 0; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := WriteFile(path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			done := 0
			restore := Intercept(func(string, string) error {
				done++
				if done-1 == n || dead && done > n {
					return boom
				}
				return nil
			})
			err := WriteFile(path, []byte("new"))
			restore()
			got, _ := os.ReadFile(path)
			if s := string(got); s != "old" && s != "new" || err == nil && s != "new" {
				t.Errorf("operation %d: content %q, error %v", n, got, err)
			}
			if err := Sweep(dir); err != nil {
				t.Fatal(err)
			}
			if left := names(t, dir); len(left) != 1 {
				t.Errorf("operation %d: left behind %v", n, left)
			}
			if err == nil {
				if n != done || n < 4 {
					t.Errorf("%d operations of %d failed", n, done)
				}
				break
			}
			if !errors.Is(err, boom) {
				t.Fatalf("operation %d: %v", n, err)
			}
		}
	}
}
