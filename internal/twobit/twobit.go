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
	n := len(dst)
	b0, b1, b2, b3 := bytesOf(c0[:n]), bytesOf(c1[:n]), bytesOf(c2[:n]), bytesOf(c3[:n])
	var bad uint64
	i := 0
	for ; i+8 <= n; i += 8 {
		f0, f1, f2, f3 := raise(b0[i:]), raise(b1[i:]), raise(b2[i:]), raise(b3[i:])
		bad |= invalid(f0) | invalid(f1) | invalid(f2) | invalid(f3)
		binary.LittleEndian.PutUint64(dst[i:], f0|f1<<2|f2<<4|f3<<6)
	}
	for ; i < n; i++ {
		f0, f1, f2, f3 := b0[i]+1, b1[i]+1, b2[i]+1, b3[i]+1
		if max(f0, f1, f2, f3) > 2 {
			bad = 1
		}
		dst[i] = f0&3 | f1&3<<2 | f2&3<<4 | f3<<6
	}
	return bad == 0
}

// raise adds 1 to each of eight bytes without carrying into the next.
func raise(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)
	return (x&^tops + ones) ^ x&tops
}

// invalid is not zero if a byte of f is above 2.
func invalid(f uint64) uint64 { return f&^uint64(low) | f&(f>>1)&ones }

// bytesOf views codes as bytes.
func bytesOf(d []int8) []byte {
	if len(d) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&d[0])), len(d))
}
