// Package twobit moves ternary codes between bytes of their own (-1, 0, +1)
// and packed bytes of four two-bit fields that hold code+1. Hugging Face's
// packing, GGUF's I2_S and TQ2_0 all consist of such bytes and differ only in
// which values share one.
package twobit

import (
	"encoding/binary"
	"unsafe"
)

const (
	low  = 0x0303030303030303 // a field in each byte
	ones = 0x0101010101010101
	tops = 0x8080808080808080
	odd  = 0x5555555555555555 // the low bit of every field
)

// Unpack splits src into its fields: d0 receives the lowest two bits of every
// byte, d3 the highest. All five slices have one length. It reports false if a
// field holds 3, which is no code; the field is then unpacked as +2.
func Unpack(d0, d1, d2, d3 []int8, src []byte) bool {
	n := len(src)
	o0, o1, o2, o3 := bytesOf(d0[:n]), bytesOf(d1[:n]), bytesOf(d2[:n]), bytesOf(d3[:n])
	var bad uint64
	i := 0
	for ; i+8 <= n; i += 8 {
		x := binary.LittleEndian.Uint64(src[i:])
		bad |= x & (x >> 1) & odd
		binary.LittleEndian.PutUint64(o0[i:], lower(x))
		binary.LittleEndian.PutUint64(o1[i:], lower(x>>2))
		binary.LittleEndian.PutUint64(o2[i:], lower(x>>4))
		binary.LittleEndian.PutUint64(o3[i:], lower(x>>6))
	}
	for ; i < n; i++ {
		x := src[i]
		bad |= uint64(x & (x >> 1) & 0x55)
		o0[i], o1[i], o2[i], o3[i] = x&3-1, x>>2&3-1, x>>4&3-1, x>>6-1
	}
	return bad == 0
}

// lower turns the lowest field of eight bytes into eight codes. Subtracting 1
// from each byte must not borrow from the next, hence the detour over tops.
func lower(x uint64) uint64 { return (x&low | tops) - ones ^ tops }

// Pack is the inverse of Unpack. It reports false if a code is not -1, 0 or 1.
func Pack(dst []byte, c0, c1, c2, c3 []int8) bool {
	ok := true
	for i := range dst {
		a, b, c, d := uint8(c0[i]+1), uint8(c1[i]+1), uint8(c2[i]+1), uint8(c3[i]+1)
		if max(a, b, c, d) > 2 {
			ok = false
		}
		dst[i] = a&3 | b&3<<2 | c&3<<4 | d<<6
	}
	return ok
}

// bytesOf views codes as bytes.
func bytesOf(d []int8) []byte {
	if len(d) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&d[0])), len(d))
}
