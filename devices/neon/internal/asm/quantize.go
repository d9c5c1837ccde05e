package asm

import "math"

// group is how many elements the row kernels take at a time. What is left of a
// row is done by the twin.
const group = 16

// whole is how many of n elements assembly does.
func (isa ISA) whole(n int) int {
	if isa == Generic {
		return 0
	}
	return n / group * group
}

// actEps is the smallest absolute maximum of a row that its scale is taken
// from, as in the published model's activation quantiser.
const actEps = 1e-5

// actScale is 127/max(absmax, 1e-5). The reciprocal is rounded first, as
// ops.QuantAttrs.ScaleOf does.
func actScale(absmax float32) float32 { return 1 / max(absmax, actEps) * 127 }

// roundI8 is clamp(round_half_even(v), -128, 127), and 0 for NaN.
func roundI8(v float32) int8 {
	r := min(max(math.RoundToEven(float64(v)), -128), 127)
	if r != r {
		return 0
	}
	return int8(r)
}

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// QuantizeI8 quantises one row: scale = 127/max(max|x|, 1e-5) and
// q = clamp(round_half_even(x·scale), -128, 127), each operation rounded once
// in float32. It returns the scale, by which results are divided. q is as long
// as x or longer.
func (isa ISA) QuantizeI8(q []int8, x []float32) (scale float32) {
	q = q[:len(x)]
	n := isa.whole(len(x))
	var m float32
	if n > 0 {
		m = absMaxNEON(&x[0], n/group)
	}
	for _, v := range x[n:] {
		m = max(m, abs32(v))
	}
	scale = actScale(m)
	if n > 0 {
		quantizeNEON(&q[0], &x[0], n/group, scale)
	}
	for i := n; i < len(x); i++ {
		q[i] = roundI8(x[i] * scale)
	}
	return scale
}

// Relu2Mul writes y = max(g,0)²·u, rounded after the square. g and u are as long
// as y or longer; y may be either.
func (isa ISA) Relu2Mul(y, g, u []float32) {
	g, u = g[:len(y)], u[:len(y)]
	n := isa.whole(len(y))
	if n > 0 {
		relu2MulNEON(&y[0], &g[0], &u[0], n/group)
	}
	for i := n; i < len(y); i++ {
		r := max(g[i], 0)
		y[i] = float32(r*r) * u[i]
	}
}
