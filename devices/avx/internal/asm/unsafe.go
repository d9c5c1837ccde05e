package asm

import "unsafe"

// bytesToInt8 views scratch bytes as activation codes.
func bytesToInt8(b []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}
