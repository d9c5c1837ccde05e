package jsonl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	r := NewReader("f.jsonl", strings.NewReader("{\"a\":1}\n\n{\"a\":2}\n{\"a\":\n"))
	var v struct{ A int }
	for i, line := range []int{1, 3} {
		ok, err := r.Next(&v)
		if !ok || err != nil || v.A != i+1 || r.Line() != line {
			t.Fatalf("%v %v %v at %d", ok, err, v, r.Line())
		}
	}
	if _, err := r.Next(&v); err == nil || !strings.HasPrefix(err.Error(), "f.jsonl:4: ") {
		t.Errorf("error %v", err)
	}
	if ok, err := r.Next(&v); ok || err != nil {
		t.Errorf("after the end: %v %v", ok, err)
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	for round := range 3 {
		var old []string
		f, err := Append(path, func(line []byte) error { old = append(old, string(line)); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if len(old) != round || round > 0 && old[round-1] != "{}\n" {
			t.Fatalf("round %d finds %q", round, old)
		}
		if _, err := f.WriteString("{}\n{\"half\""); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := errors.New("no")
	if _, err := Append(path, func([]byte) error { return want }); !errors.Is(err, want) || !strings.Contains(err.Error(), path+":1: ") {
		t.Errorf("error %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != "{}\n{}\n{}\n{\"half\"" {
		t.Errorf("a refused file was changed: %q %v", data, err)
	}
}
