//go:build unix

package asm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func guardedBytes(t testing.TB, n int, front bool) []byte {
	t.Helper()
	page := os.Getpagesize()
	body := ceilDiv(n, page) * page
	m, err := unix.Mmap(-1, 0, body+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	for _, guard := range [][]byte{m[:page], m[page+body:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	if front {
		return m[page : page+n : page+n]
	}
	return m[page+body-n : page+body : page+body]
}
