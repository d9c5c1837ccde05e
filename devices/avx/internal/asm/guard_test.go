package asm

import (
	"testing"
	"unsafe"
)

// element is what kernels read and write.
type element interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~float32 | ~float64
}

// guarded returns n elements in memory where the byte after the last one, or
// with front set the byte before the first one, faults when touched.
func guarded[T element](t testing.TB, n int, front bool) []T {
	t.Helper()
	var zero T
	size := int(unsafe.Sizeof(zero))
	b := guardedBytes(t, n*size, front)
	if n == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

// guardedCopy is guarded with the contents of s.
func guardedCopy[T element](t testing.TB, s []T, front bool) []T {
	g := guarded[T](t, len(s), front)
	copy(g, s)
	return g
}

// u16s views bytes as 16-bit words.
func u16s(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), len(b)/2)
}
