package asm

import (
	"testing"

	"golang.org/x/sys/unix"
)

// hugeBytes returns n bytes in huge pages if the kernel gives them.
func hugeBytes(tb testing.TB, n int) []byte {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Munmap(m) })
	_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // a hint; some hosts have none
	return m
}
