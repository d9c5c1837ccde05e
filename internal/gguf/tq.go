package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/twobit"
)

const (
	tqBlock  = 256 // values a block
	tq1Bytes = 54  // 48 bytes of five trits, 4 of four, the scale
	tq2Bytes = 66  // 64 bytes of four two-bit codes, the scale
)

// tq1Groups lists how TQ1_0 spreads values over bytes: `bytes` bytes from at,
// byte m of which holds values first+m, first+m+stride, … as base-3 digits,
// the first the most significant.
var tq1Groups = []struct{ at, first, bytes, trits int }{
	{0, 0, 32, 5},
	{32, 160, 16, 5},
	{48, 240, 4, 4},
}

// tq1Digits holds the five digits of every byte. A byte is the fraction
// u/243 in units of 1/256, rounded up; multiplying by 3 moves the next digit
// over the point.
var tq1Digits = func() (t [256][5]int8) {
	for b := range t {
		rest := b
		for i := range t[b] {
			rest *= 3
			t[b][i] = int8(rest>>8) - 1
			rest &= 255
		}
	}
	return t
}()

func unpackTQ1(codes []int8, src []byte) {
	for _, g := range tq1Groups {
		for m := range g.bytes {
			for i, c := range tq1Digits[src[g.at+m]][:g.trits] {
				codes[g.first+m+i*g.bytes] = c
			}
		}
	}
}

func packTQ1(dst []byte, codes []int8) bool {
	ok := true
	for _, g := range tq1Groups {
		for m := range g.bytes {
			u := 0
			for i := range 5 {
				u *= 3
				if i < g.trits {
					c := codes[g.first+m+i*g.bytes]
					ok = ok && c >= -1 && c <= 1
					u += int(c + 1)
				}
			}
			dst[g.at+m] = byte((u*256 + 242) / 243)
		}
	}
	return ok
}

func unpackTQ2(codes []int8, src []byte) bool {
	ok := true
	for h := range 2 {
		c := codes[128*h : 128*h+128]
		ok = twobit.Unpack(c[:32], c[32:64], c[64:96], c[96:], src[32*h:32*h+32]) && ok
	}
	return ok
}

func packTQ2(dst []byte, codes []int8) bool {
	ok := true
	for h := range 2 {
		c := codes[128*h : 128*h+128]
		ok = twobit.Pack(dst[32*h:32*h+32], c[:32], c[32:64], c[64:96], c[96:]) && ok
	}
	return ok
}

// tqBytes returns the bytes a block takes, of which the last two are its scale.
func tqBytes(t Type) (int, error) {
	switch t {
	case TQ1_0:
		return tq1Bytes, nil
	case TQ2_0:
		return tq2Bytes, nil
	}
	return 0, fmt.Errorf("%s is not TQ1_0 or TQ2_0", t)
}

// unpackTQ writes a block's codes and returns its scale.
func unpackTQ(t Type, codes []int8, block []byte) (float32, error) {
	if t == TQ1_0 {
		unpackTQ1(codes, block)
	} else if !unpackTQ2(codes, block) {
		return 0, fmt.Errorf("a TQ2_0 byte holds the value 3, which is no ternary code; the file is damaged")
	}
	d := graph.F16ToF32(binary.LittleEndian.Uint16(block[len(block)-2:]))
	if !(d >= 0 && d <= math.MaxFloat32) {
		return 0, fmt.Errorf("a %s block has scale %v, want a finite number that is not negative", t, d)
	}
	return d, nil
}

// UnpackTQ writes the codes of a whole tensor and returns the scale that its
// blocks share. Blocks of scale 0 are zeros whatever their codes. A tensor
// whose blocks differ in scale is no BitNet weight and an error.
func UnpackTQ(t Type, codes []int8, src []byte) (scale float32, err error) {
	size, err := tqBytes(t)
	if err != nil {
		return 0, err
	}
	if len(codes)%tqBlock != 0 || len(src) != len(codes)/tqBlock*size {
		return 0, fmt.Errorf("%d %s values do not fit %d bytes", len(codes), t, len(src))
	}
	for i := range len(codes) / tqBlock {
		c := codes[i*tqBlock : (i+1)*tqBlock]
		d, err := unpackTQ(t, c, src[i*size:(i+1)*size])
		switch {
		case err != nil:
			return 0, fmt.Errorf("block %d: %w", i, err)
		case d == 0:
			clear(c)
		case scale == 0:
			scale = d
		case d != scale:
			return 0, fmt.Errorf("block %d has scale %v, earlier ones %v: the tensor was quantised from weights that were not ternary", i, d, scale)
		}
	}
	return scale, nil
}

// PackTQ writes codes as TQ1_0 or TQ2_0 with one scale, rounded to f16. A block
// of zeros has scale 0, as ggml writes it.
func PackTQ(t Type, dst []byte, codes []int8, scale float32) error {
	size, err := tqBytes(t)
	if err != nil {
		return err
	}
	if len(codes)%tqBlock != 0 || len(dst) != len(codes)/tqBlock*size {
		return fmt.Errorf("%d values are no whole number of %s blocks of %d, or do not fit %d bytes", len(codes), t, tqBlock, len(dst))
	}
	h := graph.F32ToF16(scale)
	for i := range len(codes) / tqBlock {
		c, b := codes[i*tqBlock:(i+1)*tqBlock], dst[i*size:(i+1)*size]
		if err := packTQ(t, b, c); err != nil {
			return err
		}
		d := h
		if allZero(c) {
			d = 0
		}
		binary.LittleEndian.PutUint16(b[size-2:], d)
	}
	return nil
}

func packTQ(t Type, block []byte, codes []int8) error {
	ok := false
	if t == TQ1_0 {
		ok = packTQ1(block, codes)
	} else {
		ok = packTQ2(block, codes)
	}
	if !ok {
		return errNotTernary
	}
	return nil
}

func allZero(codes []int8) bool {
	for _, c := range codes {
		if c != 0 {
			return false
		}
	}
	return true
}

// encodeTQ quantises floats block by block as ggml does: the scale is the
// greatest magnitude, codes are rounded half away from zero.
func encodeTQ(t Type, dst []byte, src []float32) error {
	size, err := tqBytes(t)
	if err != nil {
		return err
	}
	var codes [tqBlock]int8
	for i := range len(src) / tqBlock {
		x, b := src[i*tqBlock:(i+1)*tqBlock], dst[i*size:(i+1)*size]
		d := maxAbs(x)
		if !(d <= math.MaxFloat32) {
			return fmt.Errorf("block %d: weights are not finite", i)
		}
		var id float32
		if d != 0 {
			id = 1 / d
		}
		for j, v := range x {
			codes[j] = int8(math.Round(float64(v * id)))
		}
		if err := packTQ(t, b, codes[:]); err != nil {
			return err
		}
		binary.LittleEndian.PutUint16(b[size-2:], graph.F32ToF16(d))
	}
	return nil
}

func maxAbs(x []float32) float32 {
	var m float32
	for _, v := range x {
		m = max(m, v, -v)
	}
	return m
}
