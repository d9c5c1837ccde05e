package record

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var columns = []string{"step", "name", "value"}

func open(t *testing.T, path string, step int) *Table {
	t.Helper()
	tab, err := Open(path, columns, step)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGoesOn: a file that is opened for an earlier step loses the later rows and
// a torn line, wherever it was torn, and then equals one that was never left.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	row := func(tab *Table, step int) {
		t.Helper()
		if err := tab.Append(step, `a,"b`, Number(1/float64(step))); err != nil {
			t.Fatal(err)
		}
	}
	whole := filepath.Join(dir, "whole.csv")
	tab := open(t, whole, 0)
	for step := 1; step <= 6; step++ {
		row(tab, step)
		row(tab, step) // several rows may have one step
	}
	if err := errors.Join(tab.Sync(), tab.Close()); err != nil {
		t.Fatal(err)
	}
	want := text(t, whole)
	for n := 0; n <= len(want); n++ {
		path := filepath.Join(dir, "torn.csv")
		if err := os.WriteFile(path, []byte(want[:n]), 0o666); err != nil {
			t.Fatal(err)
		}
		tab := open(t, path, 3)
		from := 1
		if last := tab.Last(); last != nil {
			from = int(last[0][0]-'0') + 1
			// The test writes pairs; a pair cut in half is completed.
			if strings.Count(want[:n], "\n") == 2*(from-1) {
				row(tab, from-1)
			}
		}
		for step := from; step <= 6; step++ {
			row(tab, step)
			row(tab, step)
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
		if got := text(t, path); got != want {
			t.Fatalf("torn at %d:\n%s\nwant\n%s", n, got, want)
		}
		os.Remove(path)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	tab := open(t, path, 0)
	vals := []float64{math.Pi, math.Inf(1), math.NaN(), 1e-310, -0.1}
	for i, v := range vals {
		if err := tab.Append(i, strings.Repeat(`"`, i)+",", Number(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.Append(9, "two\nlines", ""); err == nil {
		t.Error("a cell with a line break")
	}
	if err := tab.Append(9, "few"); err == nil {
		t.Error("a row without all cells")
	}
	if _, err := tab.f.WriteAt([]byte("7,torn"), tab.size); err != nil {
		t.Fatal(err)
	}
	d, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := d.Numbers("value")
	if !ok || !slices.EqualFunc(got, vals, func(a, b float64) bool { return a == b || a != a && b != b }) {
		t.Errorf("read %v, want %v", got, vals)
	}
	if names, _ := d.Text("name"); names[3] != `""",` {
		t.Errorf("names %q", names)
	}
	if _, ok := d.Numbers("other"); ok || !cmp.Equal(d.Steps, []int{0, 1, 2, 3, 4}) {
		t.Errorf("steps %v", d.Steps)
	}
	if _, err := Open(path, []string{"step", "other"}, 9); !errors.Is(err, ErrColumns) {
		t.Errorf("other columns: %v", err)
	}
	for _, bad := range []string{"", "step", "loss,step\n", "step,a\n1\n", "step,a\nx,1\n", "step,a\n1,\"x\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("step,name,value\n1,a,2\n2,\"b,\"\"\",3\n4,torn")
	f.Add("step\n-3\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		d, err := Parse(in)
		if err != nil {
			return
		}
		// What is read is written and read again.
		path := filepath.Join(t.TempDir(), "t.csv")
		tab, err := Open(path, d.Columns, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range d.Rows {
			if slices.ContainsFunc(r, func(c string) bool { return strings.Contains(c, "\r") }) {
				t.Skip("a line break inside a cell is written as another one")
			}
			if err := tab.Append(d.Steps[i], r[1:]...); err != nil {
				t.Fatal(err)
			}
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := ReadFile(path)
		if slices.ContainsFunc(d.Columns, func(c string) bool { return strings.ContainsAny(c, ",\"\r\n") }) {
			return // our columns have plain names
		}
		if err != nil || len(again.Rows) != len(d.Rows) {
			t.Fatalf("%d rows, want %d: %v", len(again.Rows), len(d.Rows), err)
		}
		for i, r := range d.Rows {
			if !slices.Equal(r[1:], again.Rows[i][1:]) {
				t.Fatalf("row %q became %q", r, again.Rows[i])
			}
		}
	})
}
