package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/internal/twobit"
)

// Order says which values share a byte of an I2_S tensor. Builds of
// Microsoft's fork differ in it, and the file does not tell.
type Order uint8

const (
	// OrderX86 packs 128 consecutive values into 32 bytes: byte p holds values
	// p, 32+p, 64+p and 96+p, the first in the highest bits. Converters written
	// in Python and x86 builds write it; so does trit.
	OrderX86 Order = iota + 1
	// OrderARM packs 64 values into 16 bytes in the same way.
	OrderARM
	// OrderRows packs the same column of four consecutive rows into a byte, the
	// first row in the highest bits: x86 builds without ACT_PARALLEL.
	OrderRows
)

func (o Order) String() string {
	switch o {
	case OrderX86:
		return "x86"
	case OrderARM:
		return "arm"
	case OrderRows:
		return "rows"
	}
	return fmt.Sprintf("order %d", uint8(o))
}

// group is the bytes over which a block's four parts are spread.
func (o Order) group(in int) int {
	switch o {
	case OrderX86:
		return 32
	case OrderARM:
		return 16
	}
	return in
}

// UnpackI2S writes the codes of a matrix with rows of in values and returns
// its scale. len(codes) must fit src.
func UnpackI2S(codes []int8, src []byte, order Order, in int) (scale float32, err error) {
	g := order.group(in)
	n := len(codes) / 4
	if len(src) != n+i2sTail || len(codes) != 4*n || g == 0 || n%g != 0 {
		return 0, fmt.Errorf("%d I2_S values of order %v do not fit %d bytes", len(codes), order, len(src))
	}
	ok := true
	for at := 0; at < n; at += g {
		c := codes[4*at : 4*at+4*g]
		ok = twobit.Unpack(c[3*g:], c[2*g:3*g], c[g:2*g], c[:g], src[at:at+g]) && ok
	}
	if !ok {
		return 0, errors.New("an I2_S byte holds the value 3, which is no ternary code; the file is damaged")
	}
	return ScaleI2S(src)
}

// ScaleI2S returns the scale of an I2_S tensor.
func ScaleI2S(src []byte) (float32, error) {
	if len(src) < i2sTail {
		return 0, fmt.Errorf("%d bytes are too few for I2_S", len(src))
	}
	scale := math.Float32frombits(binary.LittleEndian.Uint32(src[len(src)-i2sTail:]))
	if !(scale >= 0 && scale <= math.MaxFloat32) {
		return 0, fmt.Errorf("the I2_S scale is %v, want a finite number that is not negative; quantisers of I2_S that run on several threads put scales in wrong places: repeat with one", scale)
	}
	return scale, nil
}

// TailI2S returns the bytes that follow the scale, which writers fill
// differently.
func TailI2S(src []byte) []byte { return src[len(src)-i2sTail+4:] }

// PackI2S writes codes in the order x86, followed by the scale and zeros. dst
// must have the size of the tensor, a multiple of 128 values.
func PackI2S(dst []byte, codes []int8, scale float32) error {
	const g = 32
	n := len(codes) / 4
	if len(codes)%(4*g) != 0 || len(dst) != n+i2sTail {
		return fmt.Errorf("%d values are no whole number of I2_S blocks of 128, or do not fit %d bytes", len(codes), len(dst))
	}
	for at := 0; at < n; at += g {
		c := codes[4*at : 4*at+4*g]
		if !twobit.Pack(dst[at:at+g], c[3*g:], c[2*g:3*g], c[g:2*g], c[:g]) {
			return errNotTernary
		}
	}
	clear(dst[n:])
	binary.LittleEndian.PutUint32(dst[n:], math.Float32bits(scale))
	return nil
}

var errNotTernary = errors.New("a code is not -1, 0 or 1")
