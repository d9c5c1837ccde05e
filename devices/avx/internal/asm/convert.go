package asm

import "math"

// BF16ToF32 widens bfloat16 bits, exactly. src has at least len(dst) elements.
func (isa ISA) BF16ToF32(dst []float32, src []uint16) {
	src = src[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		bf16ToF32AVX2(&dst[0], &src[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = bf16ToF32(src[i])
	}
}

// F32ToBF16 rounds to bfloat16, half to even; a NaN becomes a quiet NaN.
func (isa ISA) F32ToBF16(dst []uint16, src []float32) {
	src = src[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		f32ToBF16AVX2(&dst[0], &src[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = f32ToBF16(src[i])
	}
}

// F16ToF32 widens IEEE half precision bits, exactly; a signalling NaN becomes
// quiet.
func (isa ISA) F16ToF32(dst []float32, src []uint16) {
	src = src[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		f16ToF32AVX2(&dst[0], &src[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = f16ToF32(src[i])
	}
}

// F32ToF16 rounds to half precision, half to even, through denormals; what is
// too large becomes infinite and a NaN a quiet NaN.
func (isa ISA) F32ToF16(dst []uint16, src []float32) {
	src = src[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		f32ToF16AVX2(&dst[0], &src[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = f32ToF16(src[i])
	}
}

func bf16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func f32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func f16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or denormal: frac·2^-24 is exact
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*(1.0/(1<<24))))
	case 0x1f:
		if frac != 0 {
			frac |= 0x200
		}
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

func f32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &^= 1 << 31
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x47800000: // 65536 and up
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: adding 0.5 leaves round(f·2^24) in the low bits
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-112<<23)>>13)
}
