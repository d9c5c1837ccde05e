package asm

// The sums of screened products. Weights are unsigned, in groups of four rows: a
// group has the first 64 bytes of each row, then the second ones, and so on. 64
// bytes are a block. A block of nibbles has 128 columns, byte j columns j and 64+j
// with the low half first; a block of crumbs has 256, bits 2c and 2c+1 of byte j
// being column 64c+j. Activations are 256·high + low with both signed bytes, 256
// bytes for every 128 columns: high bytes first.

// screenGroup is the rows of a group.
const screenGroup = 4

// ScreenNibbles writes acc[2r], acc[2r+1] = Σ w·high, Σ w·low for the rows of some
// groups, back to back. The sums must fit an int32: up to 2^20 columns do.
func (isa ISA) ScreenNibbles(acc []int32, w []byte, q []int8, groups, blocks int) {
	isa.screen(acc[:2*screenGroup*groups], w, q, groups, blocks, 4)
}

// ScreenCrumbs writes acc[r] = Σ w·high for the rows of some groups.
func (isa ISA) ScreenCrumbs(acc []int32, w []byte, q []int8, groups, blocks int) {
	isa.screen(acc[:screenGroup*groups], w, q, groups, blocks, 2)
}

func (isa ISA) screen(acc []int32, w []byte, q []int8, groups, blocks, bits int) {
	ld := 64 * blocks
	w, q = w[:screenGroup*groups*ld], q[:ld*16/bits]
	switch {
	case groups == 0:
	case blocks == 0:
		clear(acc)
	case isa == Generic:
		screenGeneric(acc, w, q, blocks, bits)
	case isa == AVX512 && bits == 4:
		screenNibblesAVX512(&acc[0], &w[0], &q[0], blocks, groups)
	case isa == AVX512:
		screenCrumbsAVX512(&acc[0], &w[0], &q[0], blocks, groups)
	case bits == 4:
		screenNibblesAVX2(&acc[0], &w[0], &q[0], blocks, groups)
	default:
		screenCrumbsAVX2(&acc[0], &w[0], &q[0], blocks, groups)
	}
}

func screenGeneric(acc []int32, w []byte, q []int8, blocks, bits int) {
	columns := 64 * 8 / bits
	bytes := bits / 2 // of activations: both, or the high one
	for r := range len(acc) / bytes {
		group := w[r/screenGroup*screenGroup*64*blocks:]
		var high, low int32
		for i := range blocks * columns {
			part := i % columns / 64
			u := int32(group[(i/columns*screenGroup+r%screenGroup)*64+i%64]>>(part*bits)) & (1<<bits - 1)
			at := i/128*256 + i%128
			high += u * int32(q[at])
			low += u * int32(q[at+128])
		}
		acc[bytes*r] = high
		if bytes == 2 {
			acc[bytes*r+1] = low
		}
	}
}

// SplitI16 lays out activations for the functions above: q[i] for i below
// columns, zeros up to len(dst)/2, which is a multiple of 256.
func SplitI16(dst []int8, q []int16) {
	for i := range len(dst) / 2 {
		v := int16(0)
		if i < len(q) {
			v = q[i]
		}
		low := int8(v)
		at := i/128*256 + i%128
		dst[at], dst[at+128] = int8((int32(v)-int32(low))>>8), low
	}
}
