//go:build cuda && linux && (amd64 || arm64)

package dynlib

import (
	"testing"
	"unsafe"
)

// TestCallMany passes sixteen arguments to the C library.
func TestCallMany(t *testing.T) {
	h, err := Open("libc.so.6")
	if err != nil {
		t.Skip(err)
	}
	fn, err := h.Symbol("snprintf")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	format := []byte("%d %d %d %d %d %d %d %d %d %d %d %d %d\x00")
	for range 100 {
		n := CallMany(fn, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(unsafe.Pointer(&format[0])), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
		if got, want := string(buf[:n]), "1 2 3 4 5 6 7 8 9 10 11 12 13"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}
