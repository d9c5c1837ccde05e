package asm

import "math"

const (
	expMax = 89   // e^89 is +Inf in float32
	expMin = -104 // e^-104 is 0 in float32
	log2e  = 1.4426950408889634
	// ln 2 as a multiple of 1/512, whose product with a small integer is
	// exact, and the rest.
	ln2High = 355.0 / 512
	ln2Low  = math.Ln2 - ln2High
)

// exp32 is e^x within 2 ulp, by e^x = 2^n·e^r with |r| ≤ ln2/2 and the Taylor
// polynomial of degree 7, whose remainder is below 6e-9. NaN stays NaN.
func exp32(x float32) float32 {
	if x > expMax {
		x = expMax
	}
	if x < expMin {
		x = expMin
	}
	if x != x {
		return x
	}
	n := float32(math.RoundToEven(float64(float32(x * log2e))))
	r := float32(x-float32(n*ln2High)) - float32(n*ln2Low)
	p := float32(1.0 / 5040)
	for _, c := range [...]float32{1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1} {
		p = float32(p*r) + c
	}
	// 2^n in two factors: n itself may be out of the exponent's range.
	i := int32(n)
	h := i >> 1
	return p * pow2(h) * pow2(i-h)
}

func pow2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

// Exp writes dst = e^x, within 2 ulp of the exact value and the same bits on
// every ISA; overflow gives +Inf, underflow goes through denormals to 0, NaN
// stays NaN. x has at least len(dst) elements; dst may be x.
func (isa ISA) Exp(dst, x []float32) { isa.expAffine(dst, x, 1, 0) }

// expAffine writes dst = e^(x·scale - shift).
func (isa ISA) expAffine(dst, x []float32, scale, shift float32) {
	x = x[:len(dst)]
	if n := len(dst) / 16; isa == AVX512 && n > 0 {
		expAVX512(&dst[0], &x[0], n, scale, shift)
		dst, x = dst[16*n:], x[16*n:]
	}
	n := isa.vectors(len(dst))
	if n > 0 {
		expAVX2(&dst[0], &x[0], n, scale, shift)
	}
	if rest := x[8*n:]; isa != Generic && len(rest) > 1 {
		// One vector costs as much as one element in Go.
		var v [8]float32
		copy(v[:], rest)
		expAVX2(&v[0], &v[0], 1, scale, shift)
		copy(dst[8*n:], v[:len(rest)])
		return
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = exp32(float32(x[i]*scale) - shift)
	}
}

// Softmax writes dst = softmax(x·scale) over a whole row, for scale > 0, and
// returns log Σ e^(x·scale), which a loss needs. dst may be x. The bits are the
// same on every ISA. An empty row does nothing and returns -Inf.
func (isa ISA) Softmax(dst, x []float32, scale float32) (logSum float32) {
	dst = dst[:len(x)]
	top := isa.Max(x) * scale
	if len(x) == 0 {
		return top
	}
	isa.expAffine(dst, x, scale, top)
	sum := isa.Sum(dst)
	isa.Scale(dst, dst, 1/sum)
	return top + float32(math.Log(float64(sum)))
}
