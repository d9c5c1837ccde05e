package asm

import "math"

// invRMS is 1/sqrt(mean(x²)+eps). Squares are exact in float64; element i goes
// to sum i%16 in increasing i, and the 16 sums are added as a tree.
func (isa ISA) invRMS(x []float32, eps float64) float32 {
	var s [group]float64
	n := isa.whole(len(x))
	if n > 0 {
		sumSquaresNEON(&s[0], &x[0], n/group)
	}
	for i := n; i < len(x); i++ {
		s[i%group] += float64(x[i]) * float64(x[i])
	}
	for half := group / 2; half > 0; half /= 2 {
		for l := range half {
			s[l] += s[l+half]
		}
	}
	return float32(1 / math.Sqrt(float64(s[0]/float64(max(len(x), 1)))+eps))
}

// RMSNorm writes y = w·(x·r) with r = 1/sqrt(mean(x²)+eps). w and y are as long
// as x or longer; y may be x.
func (isa ISA) RMSNorm(y, x, w []float32, eps float64) {
	y, w = y[:len(x)], w[:len(x)]
	r := isa.invRMS(x, eps)
	n := isa.whole(len(x))
	if n > 0 {
		scaleMulNEON(&y[0], &x[0], &w[0], n/group, r)
	}
	for i := n; i < len(x); i++ {
		y[i] = float32(x[i]*r) * w[i]
	}
}

// RMSNormQuant is RMSNorm followed by QuantizeI8, without storing the
// normalised row. It returns the same scale and writes the same q as the two
// would.
func (isa ISA) RMSNormQuant(q []int8, x, w []float32, eps float64) (scale float32) {
	q, w = q[:len(x)], w[:len(x)]
	r := isa.invRMS(x, eps)
	n := isa.whole(len(x))
	var m float32
	if n > 0 {
		m = scaleMulAbsMaxNEON(&x[0], &w[0], n/group, r)
	}
	for i := n; i < len(x); i++ {
		m = max(m, abs32(float32(x[i]*r)*w[i]))
	}
	scale = actScale(m)
	if n > 0 {
		scaleMulQuantizeNEON(&q[0], &x[0], &w[0], n/group, r, scale)
	}
	for i := n; i < len(x); i++ {
		q[i] = roundI8(float32(float32(x[i]*r)*w[i]) * scale)
	}
	return scale
}
