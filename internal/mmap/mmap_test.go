package mmap

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 1 << 20} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * 7)
		}
		f, err := Open(write(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("size %d: content differs", size)
		}
		if size > 0 && runtime.GOOS == "linux" && !f.Mapped() {
			t.Errorf("size %d: not mapped", size)
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Errorf("size %d: close: %v", size, err)
			}
		}
		if f.Bytes() != nil {
			t.Errorf("size %d: bytes reachable after Close", size)
		}
	}
}

func TestForgetKeepsContent(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	f, err := Open(write(t, want))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := f.Bytes()
	f.Forget(b[100 : len(b)-100])
	f.Forget(b[:10])
	f.Forget(want) // foreign memory must be left alone
	f.Forget(nil)
	if !bytes.Equal(b, want) {
		t.Error("content changed")
	}
}

func TestOpenRefusesFolders(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Errorf("absent file: %v", err)
	}
}

func TestReadAllMatchesMapping(t *testing.T) {
	want := []byte("the portable way reads the same bytes")
	got, err := readAll(bytes.NewReader(want), len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := readAll(bytes.NewReader(want), len(want)+1); err == nil {
		t.Error("a file that shrank while it was read is no error")
	}
}
