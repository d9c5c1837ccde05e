package asm

import "unsafe"

// bytesToInt8 views scratch bytes as activation codes.
func bytesToInt8(b []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// int8ToBytes views activation codes as bytes.
func int8ToBytes(q []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(q))), len(q))
}

// advance is p moved by some bytes within its slice.
func advance(p *byte, bytes int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(p), bytes))
}

// wholeLines is the part of words from where a cache line of 64 bytes begins on.
func wholeLines(words []int32) []int32 {
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(words))) % lineBytes / 4
	return words[skip:]
}
