package data

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write makes files below a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func rels(parts []Part) []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.Rel)
	}
	return names
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, rel string
		want         bool
	}{
		{"*.go", "a.go", true}, {"*.go", "x/y/a.go", true}, {"*.go", "a.gob", false},
		{"x/*.go", "x/a.go", true}, {"x/*.go", "x/y/a.go", false}, {"x/*.go", "y/x/a.go", false},
		{"**/testdata/**", "testdata/a", true}, {"**/testdata/**", "a/b/testdata/c/d", true}, {"**/testdata/**", "a/testdatum/c", false},
		{"x/**", "x/a/b", true}, {"x/**", "xy/a", false}, {"**/a/**/b", "a/b", true}, {"**/a/**/b", "q/a/r/s/b", true}, {"**/a/**/b", "b/a", false},
		{"vendor/**/*_test.go", "vendor/z_test.go", true}, {"[ab]/?", "b/x", true},
	} {
		got, err := Match(c.pattern, c.rel)
		if err != nil || got != c.want {
			t.Errorf("Match(%q, %q) = %v, %v", c.pattern, c.rel, got, err)
		}
	}
	for _, bad := range []string{"", "[", "a/["} {
		if _, err := Match(bad, "a"); err == nil {
			t.Errorf("pattern %q is accepted", bad)
		}
	}
}

func TestScanChooses(t *testing.T) {
	files := map[string]string{
		"a.go": "package a", "b/c.go": "package c", "b/c_test.go": "package c", "d.txt": "text", "empty.go": "",
		".git/x.go": "hidden", "b/.h.go": "hidden", "bin.go": "\x00\x01", "testdata/t.go": "package t",
	}
	dir := write(t, files)
	c, err := Scan(Config{Path: dir, Holdout: 0.3, Include: []string{"*.go"}, Exclude: []string{"*_test.go", "**/testdata/**"}})
	if err != nil {
		t.Fatal(err)
	}
	got := append(rels(c.Train), rels(c.Valid)...)
	slices.Sort(got)
	if d := cmp.Diff([]string{"a.go", "b/c.go"}, got); d != "" {
		t.Error(d)
	}
	if _, err := Scan(Config{Path: dir, Holdout: 0.3, Include: []string{"*.rs"}}); err == nil || !strings.Contains(err.Error(), "*.rs") {
		t.Errorf("no match: %v", err)
	}
	for _, bad := range []Config{{Path: dir}, {Path: dir, Holdout: 1}, {Path: dir + "x", Holdout: 0.1}, {Path: dir, Holdout: 0.1, Exclude: []string{"["}}} {
		if _, err := Scan(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// TestSplitIsStable checks that a file's side depends on its path alone, and
// pins it, because checkpoints and published figures rely on it.
func TestSplitIsStable(t *testing.T) {
	var all []Part
	for i := range 4000 {
		all = append(all, Part{Rel: fmt.Sprintf("pkg%d/file%d.go", i%37, i), Size: 1})
	}
	train, valid := split(all, 0.1)
	if len(train)+len(valid) != len(all) || len(valid) < 320 || len(valid) > 480 {
		t.Errorf("%d of %d files held out", len(valid), len(all))
	}
	held := map[string]bool{}
	for _, p := range valid {
		held[p.Rel] = true
	}
	some := append(slices.Clone(all[1000:2000]), Part{Rel: "new.go", Size: 9})
	_, again := split(some, 0.1)
	for _, p := range again {
		if p.Rel != "new.go" && !held[p.Rel] {
			t.Errorf("%s is held out of some files but not of all", p.Rel)
		}
	}
	for rel, want := range map[string]float64{"bytes/buffer.go": 0.4206647, "fmt/print.go": 0.2808784} {
		if got := place(rel); got < want-1e-6 || got > want+1e-6 {
			t.Errorf("place(%s) = %.7f, want %.7f", rel, got, want)
		}
	}
	for n := 2; n < 6; n++ {
		for _, share := range []float64{1e-9, 0.5, 1 - 1e-9} {
			if tr, va := split(all[:n], share); len(tr) == 0 || len(va) == 0 {
				t.Errorf("%d files at %v: %d and %d", n, share, len(tr), len(va))
			}
		}
	}
}

func TestSingleFile(t *testing.T) {
	text := strings.Repeat("a line of text\n", 1000)
	dir := write(t, map[string]string{"t.txt": text})
	for _, path := range []string{dir, filepath.Join(dir, "t.txt")} {
		c, err := Scan(Config{Path: path, Holdout: 0.1})
		if err != nil {
			t.Fatal(err)
		}
		read := func(p Part) string {
			r, err := c.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		head, tail := read(c.Train[0]), read(c.Valid[0])
		if head+tail != text || !strings.HasSuffix(head, "\n") || len(tail) < 1400 || len(tail) > 1500 {
			t.Errorf("%s: cut at %d of %d", path, len(head), len(text))
		}
	}
	runes := write(t, map[string]string{"r": strings.Repeat("é", 333)})
	c, err := Scan(Config{Path: runes, Holdout: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	if c.Valid[0].Off%2 != 0 {
		t.Errorf("cut inside a code point, at %d", c.Valid[0].Off)
	}
	one := write(t, map[string]string{"r": "x"})
	if _, err := Scan(Config{Path: one, Holdout: 0.25}); err == nil {
		t.Error("one byte is split")
	}
}
