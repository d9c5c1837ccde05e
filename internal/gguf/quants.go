package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// Decode dequantises whole blocks of src into dst. Supported are F32, F16,
// BF16, Q8_0, Q6_K, Q4_0, TQ1_0 and TQ2_0; I2_S has one scale a tensor, see
// [UnpackI2S].
func Decode(t Type, dst []float32, src []byte) error {
	decode, ok := decoders[t]
	if !ok {
		return fmt.Errorf("%s cannot be decoded", t)
	}
	l := layouts[t]
	if len(dst)%l.block != 0 || len(src) != len(dst)/l.block*l.bytes {
		return fmt.Errorf("%d %s values do not fit %d bytes", len(dst), t, len(src))
	}
	for i := range len(dst) / l.block {
		if err := decode(dst[i*l.block:(i+1)*l.block], src[i*l.bytes:(i+1)*l.bytes]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// CanDecode reports whether Decode supports the type.
func CanDecode(t Type) bool { _, ok := decoders[t]; return ok }

var decoders = map[Type]func(dst []float32, src []byte) error{
	F32: func(dst []float32, src []byte) error {
		dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(src))
		return nil
	},
	F16: func(dst []float32, src []byte) error {
		dst[0] = graph.F16ToF32(binary.LittleEndian.Uint16(src))
		return nil
	},
	BF16: func(dst []float32, src []byte) error {
		dst[0] = graph.BF16ToF32(binary.LittleEndian.Uint16(src))
		return nil
	},
	Q4_0:  decodeQ4,
	Q8_0:  decodeQ8,
	Q6_K:  decodeQ6K,
	TQ1_0: func(dst []float32, src []byte) error { return decodeTQ(TQ1_0, dst, src) },
	TQ2_0: func(dst []float32, src []byte) error { return decodeTQ(TQ2_0, dst, src) },
}

func decodeTQ(t Type, dst []float32, src []byte) error {
	var codes [tqBlock]int8
	d, err := unpackTQ(t, codes[:], src)
	for i, c := range codes {
		dst[i] = d * float32(c)
	}
	return err
}

// decodeQ8: f16 scale, 32 signed bytes.
func decodeQ8(dst []float32, src []byte) error {
	d := graph.F16ToF32(binary.LittleEndian.Uint16(src))
	for i, q := range src[2:] {
		dst[i] = d * float32(int8(q))
	}
	return nil
}

// decodeQ4: f16 scale, 16 bytes whose low nibbles are the first 16 values and
// whose high nibbles are the others; value = scale·(nibble-8).
func decodeQ4(dst []float32, src []byte) error {
	d := graph.F16ToF32(binary.LittleEndian.Uint16(src))
	for i, q := range src[2:] {
		dst[i] = d * float32(int(q&15)-8)
		dst[i+16] = d * float32(int(q>>4)-8)
	}
	return nil
}

// decodeQ6K: 256 six-bit values in 128 bytes of low nibbles, 64 bytes of upper
// bit pairs, 16 signed scales of 16 values each, and an f16 scale over all. In
// each half, quarter k of 32 values takes its nibbles from bytes 32·(k%2)… (low
// nibbles for k < 2, high ones after) and its pairs from bits 2k of 32 bytes.
func decodeQ6K(dst []float32, src []byte) error {
	low, high, scales := src[:128], src[128:192], src[192:208]
	d := graph.F16ToF32(binary.LittleEndian.Uint16(src[208:]))
	for i := range dst {
		half, k, l := i/128, i/32%4, i%32
		nibble := low[64*half+32*(k%2)+l] >> (4 * (k / 2)) & 15
		pair := high[32*half+l] >> (2 * k) & 3
		dst[i] = d * float32(int8(scales[i/16])) * float32(int(pair<<4|nibble)-32)
	}
	return nil
}

// Encode quantises floats into whole blocks, as ggml's reference does.
// Supported are F32, F16, BF16, Q8_0, TQ1_0 and TQ2_0.
func Encode(t Type, dst []byte, src []float32) error {
	l := layouts[t]
	if l.block == 0 || t == I2_S || len(src)%l.block != 0 || len(dst) != len(src)/l.block*l.bytes {
		return fmt.Errorf("%d values do not fit %d bytes of %s", len(src), len(dst), t)
	}
	switch t {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], graph.F32ToF16(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], graph.F32ToBF16(v))
		}
	case Q8_0:
		for i := range len(src) / l.block {
			if err := encodeQ8(dst[i*l.bytes:(i+1)*l.bytes], src[i*l.block:(i+1)*l.block]); err != nil {
				return fmt.Errorf("block %d: %w", i, err)
			}
		}
	case TQ1_0, TQ2_0:
		return encodeTQ(t, dst, src)
	default:
		return fmt.Errorf("%s cannot be encoded", t)
	}
	return nil
}

func encodeQ8(dst []byte, src []float32) error {
	d := maxAbs(src) / 127
	if !(d <= math.MaxFloat32) {
		return errors.New("values are not finite")
	}
	var id float32
	if d != 0 {
		id = 1 / d
	}
	binary.LittleEndian.PutUint16(dst, graph.F32ToF16(d))
	for i, v := range src {
		dst[2+i] = byte(int8(math.Round(float64(v * id))))
	}
	return nil
}
