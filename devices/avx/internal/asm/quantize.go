package asm

import "math"

// actEps is the smallest absolute maximum of a row that its scale is taken
// from, as in the published model's activation quantiser.
const actEps = 1e-5

// actScale is 127/max(absmax, 1e-5), what a row is multiplied with. The
// reciprocal is rounded first, as ops.QuantAttrs.ScaleOf does.
func actScale(absmax float32) float32 { return 1 / max(absmax, actEps) * 127 }

// roundI8 is clamp(round_half_even(v), -128, 127).
func roundI8(v float32) int8 {
	return int8(min(max(math.RoundToEven(float64(v)), -128), 127))
}

// QuantizeI8 quantises one row: scale = 127/max(max|x|, 1e-5) and
// q = clamp(round_half_even(x·scale), -128, 127), each operation rounded once
// in float32. It returns the scale, by which results are divided, and Σ q. q
// is as long as x or longer. The result is the same on every ISA; x must be
// finite.
func (isa ISA) QuantizeI8(q []int8, x []float32) (scale float32, sum int32) {
	q = q[:len(x)]
	scale = actScale(isa.AbsMax(x))
	n := 0
	if isa != Generic {
		if n = len(x) / group * group; n > 0 {
			sum = quantizeAVX2(&q[0], &x[0], n/group, scale)
		}
	}
	for i := n; i < len(x); i++ {
		q[i] = roundI8(x[i] * scale)
		sum += int32(q[i])
	}
	return scale, sum
}

// FakeQuantI8 writes dst = q/scale for the q and scale of QuantizeI8 and
// returns the scale. dst may be x.
func (isa ISA) FakeQuantI8(dst, x []float32) (scale float32) {
	dst = dst[:len(x)]
	scale = actScale(isa.AbsMax(x))
	n := 0
	if isa != Generic {
		if n = len(x) / 8 * 8; n > 0 {
			fakeQuantAVX2(&dst[0], &x[0], n/8, scale)
		}
	}
	for i := n; i < len(x); i++ {
		dst[i] = float32(roundI8(x[i]*scale)) / scale
	}
	return scale
}

// TernaryScale returns the weight quantiser's factor s = 1/max(mean, 1e-5) and
// γ = 1/s for a matrix of n weights with Σ|w| = sumAbs.
func TernaryScale(sumAbs float64, n int) (s, gamma float32) {
	s = 1 / max(float32(sumAbs/float64(max(n, 1))), 1e-5)
	return s, 1 / s
}

// QuantizeTernary writes codes = clamp(round_half_even(w·s), -1, 1), the same on
// every ISA. codes is as long as w or longer.
func (isa ISA) QuantizeTernary(codes []int8, w []float32, s float32) {
	codes = codes[:len(w)]
	n := 0
	if isa != Generic {
		if n = len(w) / group * group; n > 0 {
			quantizeTernaryAVX2(&codes[0], &w[0], n/group, s)
		}
	}
	for i := n; i < len(w); i++ {
		codes[i] = min(max(roundI8(w[i]*s), -1), 1)
	}
}

// FakeQuantTernary writes dst = code·gamma for the codes of QuantizeTernary.
// dst may be w.
func (isa ISA) FakeQuantTernary(dst, w []float32, s, gamma float32) {
	dst = dst[:len(w)]
	n := 0
	if isa != Generic {
		if n = len(w) / 8 * 8; n > 0 {
			fakeQuantTernaryAVX2(&dst[0], &w[0], n/8, s, gamma)
		}
	}
	for i := n; i < len(w); i++ {
		dst[i] = float32(min(max(roundI8(w[i]*s), -1), 1)) * gamma
	}
}

// DequantI8 writes dst = q/scale: what FakeQuantI8 writes, from its codes.
func (isa ISA) DequantI8(dst []float32, q []int8, scale float32) {
	dst = dst[:len(q)]
	n := 0
	if isa != Generic {
		if n = len(q) / 8 * 8; n > 0 {
			dequantAVX2(&dst[0], &q[0], n/8, scale)
		}
	}
	for i := n; i < len(q); i++ {
		dst[i] = float32(q[i]) / scale
	}
}

// DequantTernary writes dst = code·gamma.
func (isa ISA) DequantTernary(dst []float32, codes []int8, gamma float32) {
	dst = dst[:len(codes)]
	n := 0
	if isa != Generic {
		if n = len(codes) / 8 * 8; n > 0 {
			dequantTernaryAVX2(&dst[0], &codes[0], n/8, gamma)
		}
	}
	for i := n; i < len(codes); i++ {
		dst[i] = float32(codes[i]) * gamma
	}
}
