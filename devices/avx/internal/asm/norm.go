package asm

import "math"

// rmsFactor is 1/sqrt(mean(x²)+eps).
func (isa ISA) rmsFactor(x []float32, eps float32) float32 {
	mean := isa.SumSquares(x) / float32(max(len(x), 1))
	return 1 / float32(math.Sqrt(float64(mean+eps)))
}

// RMSNorm writes y = w·(x·r) with r = 1/sqrt(mean(x²)+eps) and returns r, which
// the gradient needs. w and y are as long as x or longer; y may be x. The bits
// are the same on every ISA.
func (isa ISA) RMSNorm(y, x, w []float32, eps float32) (r float32) {
	y, w = y[:len(x)], w[:len(x)]
	r = isa.rmsFactor(x, eps)
	n := 0
	if isa != Generic {
		if n = len(x) / 8 * 8; n > 0 {
			scaleMulAVX2(&y[0], &x[0], &w[0], n/8, r)
		}
	}
	for i := n; i < len(x); i++ {
		y[i] = float32(x[i]*r) * w[i]
	}
	return r
}

// RMSNormQuant is RMSNorm followed by QuantizeI8, without storing the
// normalised row. It returns the same scale and Σ q, and writes the same q, as
// the two would.
func (isa ISA) RMSNormQuant(q []int8, x, w []float32, eps float32) (scale float32, sum int32) {
	q, w = q[:len(x)], w[:len(x)]
	r := isa.rmsFactor(x, eps)
	n := 0
	var m float32
	if isa != Generic {
		if n = len(x) / group * group; n > 0 {
			m = scaleMulAbsMaxAVX2(&x[0], &w[0], n/group, r)
		}
	}
	for i := n; i < len(x); i++ {
		m = max(m, abs32(float32(x[i]*r)*w[i]))
	}
	scale = actScale(m)
	if n > 0 {
		sum = scaleMulQuantizeAVX2(&q[0], &x[0], &w[0], n/group, r, scale)
	}
	for i := n; i < len(x); i++ {
		q[i] = roundI8(float32(float32(x[i]*r)*w[i]) * scale)
		sum += int32(q[i])
	}
	return scale, sum
}
