package asm

import "math"

// The sums of screened products. Weights are unsigned, in groups of four rows: a
// group has the first 64 bytes of each row, then the second ones, and so on. 64
// bytes are a block. A block of nibbles has 128 columns, byte j columns j and 64+j
// with the low half first; a block of crumbs has 256, bits 2c and 2c+1 of byte j
// being column 64c+j. Activations are 256·high + low with both signed bytes, 256
// bytes for every 128 columns: high bytes first.

// screenGroup is the rows of a group.
const screenGroup = 4

const (
	// ScreenSlot is where the second of two vectors of activations begins, in
	// bytes behind the first: low bytes behind high ones, or another token's.
	ScreenSlot = 128
	// screenAhead is how many rows of a list are asked for before they are used.
	screenAhead = 16
)

// ScreenNibbles writes acc[2r], acc[2r+1] = Σ w·high, Σ w·low for the rows of some
// groups, back to back. The sums must fit an int32: up to 2^20 columns do.
func (isa ISA) ScreenNibbles(acc []int32, w []byte, q []int8, groups, blocks int) {
	isa.screen(acc[:2*screenGroup*groups], w, q, groups, blocks, 4)
}

// ScreenCrumbs writes acc[r] = Σ w·high for the rows of some groups.
func (isa ISA) ScreenCrumbs(acc []int32, w []byte, q []int8, groups, blocks int) {
	isa.screen(acc[:screenGroup*groups], w, q, groups, blocks, 2)
}

// ScreenList lists rows of a chunk.
type ScreenList struct {
	rows []uint32 // and up to three more, that fill the last four
	offs []uint32 // bytes from the start of the chunk, and screenAhead more
}

// ScreenListLen is the number of elements of a ScreenList for up to n rows.
func ScreenListLen(n int) int { return 2*n + screenGroup + screenAhead }

// NewScreenList makes an empty list in memory of the caller's, ScreenListLen(n)
// elements, for chunks of up to n rows.
func NewScreenList(mem []uint32) ScreenList {
	n := (len(mem) - screenGroup - screenAhead) / 2
	return ScreenList{mem[:0:n], mem[n:]}
}

// Set lists the rows r whose most[r] is not less than cut, and returns them.
func (l *ScreenList) Set(isa ISA, most []float32, cut float32) []uint32 {
	rows, n, whole := l.rows[:len(most)], 0, 0
	if isa == AVX512 && len(most) >= 16 {
		whole = len(most) / 16 * 16
		n = atLeastAVX512(&rows[0], &most[0], whole/16, cut)
	}
	for r := whole; r < len(most); r++ {
		rows[n] = uint32(r)
		in := 1
		if most[r] < cut {
			in = 0
		}
		n += in
	}
	l.rows = rows[:n]
	return l.rows
}

// ScreenCrumbsList writes acc[i] = Σ w·high for row i of the list of a chunk, and up
// to three more sums of no meaning. w begins with the chunk.
func (isa ISA) ScreenCrumbsList(acc []int32, w []byte, q []int8, list *ScreenList, blocks int) {
	n := len(list.rows)
	padded := ceilDiv(n, screenGroup) * screenGroup
	acc = acc[:padded]
	if n == 0 || blocks == 0 {
		clear(acc)
		return
	}
	q = q[:blocks*2*ScreenSlot*2-ScreenSlot]
	w = w[:(int(list.rows[n-1])/screenGroup+1)*screenGroup*64*blocks] // they ascend
	offs := list.offs[:padded+screenAhead]
	for i := range offs {
		r := int(list.rows[min(i, n-1)])
		offs[i] = uint32(r/screenGroup*screenGroup*64*blocks + r%screenGroup*64)
	}
	switch isa {
	case AVX512:
		screenCrumbsListAVX512(&acc[0], &w[0], &q[0], blocks, &offs[0], padded/screenGroup)
	case Generic:
		var four [screenGroup]int32
		for i, off := range offs[:padded] {
			screenGeneric(four[:], w[off/(screenGroup*64)/uint32(blocks)*uint32(screenGroup*64*blocks):], q, blocks, 2)
			acc[i] = four[off/64%screenGroup]
		}
	default:
		screenCrumbsListAVX2(&acc[0], &w[0], &q[0], blocks, &offs[0], padded/screenGroup)
	}
}

func (isa ISA) screen(acc []int32, w []byte, q []int8, groups, blocks, bits int) {
	ld := 64 * blocks
	w, q = w[:screenGroup*groups*ld], q[:max(0, ld*16/bits-(4/bits-1)*ScreenSlot)]
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
			if bytes == 2 {
				low += u * int32(q[at+ScreenSlot])
			}
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

// SlotI8 lays out activations of one byte as the first or second of two vectors:
// q[i] for i below columns, zeros up to half of dst.
func SlotI8(dst []int8, q []int16, slot int) {
	for at := slot * ScreenSlot; at+ScreenSlot <= len(dst); at += 2 * ScreenSlot {
		part := dst[at : at+ScreenSlot]
		n := min(len(q), ScreenSlot)
		for i, v := range q[:n] {
			part[i] = int8(v)
		}
		clear(part[n:])
		q = q[n:]
	}
}

// ScreenBounds are the factors of a token in the bounds of its logits.
type ScreenBounds struct {
	Step        float64 // of its codes
	Alpha, Beta float64 // of a row's length and of its error
	Slack       float64 // of what the sum is
	Blur        float64 // of a row's scale, in steps
	Tiny        float64 // that is always added
	Norm        float64 // of the token: its product with a row's length
	Huge        float64 // must be below this
	Limit       float64 // and the bound below this, or nothing is known
}

// ScreenIntervals writes what logits are at least and at most. For row r, whose
// scale, errors and length are bounds[4r:4r+4] with lost the place of the error,
// unit = scale·Step, a = unit·steps[r] and
//
//	b = length·Alpha + error·Beta + (|a|·Slack + unit·Blur) + Tiny,
//
// they are a−b and a+b, infinite where nothing is known.
func (isa ISA) ScreenIntervals(least, most []float32, steps []float64, bounds []float32, lost int, f *ScreenBounds) {
	n := len(steps)
	least, most, bounds = least[:n], most[:n], bounds[:4*n]
	i := 0
	switch {
	case isa == Generic || n < 4 || lost > 3:
	case isa == AVX512:
		i = n / 8 * 8
		screenIntervalsAVX512(&least[0], &most[0], &steps[0], &bounds[0], i/8, &f.Step, lost)
	default:
		i = n / 4 * 4
		screenIntervalsAVX2(&least[0], &most[0], &steps[0], &bounds[0], i/4, &f.Step, lost)
	}
	for ; i < n; i++ {
		b := bounds[4*i : 4*i+4]
		length, unit := float64(b[3]), float64(b[0])*f.Step
		a := unit * steps[i]
		r := length*f.Alpha + float64(b[lost])*f.Beta + (math.Abs(a)*f.Slack + unit*f.Blur) + f.Tiny
		if !(length*f.Norm < f.Huge) || !(r < f.Limit) {
			least[i], most[i] = float32(math.Inf(-1)), float32(math.Inf(1))
			continue
		}
		least[i], most[i] = float32(a-r), float32(a+r)
	}
}
