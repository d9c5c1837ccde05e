package asm

import "math"

// Reductions add in one fixed order on every ISA: element i of the whole groups
// of 32 goes to sum i%32 in increasing i; sums l, l+8, l+16 and l+24 are then
// added as (l + (l+8)) + ((l+16) + (l+24)); what is left of x goes to the
// resulting sum i%8; and the eight are added as a tree. Products and sums are
// rounded separately, so the bits are the same on every ISA.

const group = 32

// lanes are the eight sums that are left of a reduction.
type lanes [8]float32

// tree adds the lanes in the fixed order.
func (s *lanes) tree() float32 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// fold adds four rows of eight sums.
func fold(a *[group]float32) (s lanes) {
	for l := range s {
		s[l] = (a[l] + a[l+8]) + (a[l+16] + a[l+24])
	}
	return s
}

// Sum returns Σ x.
func (isa ISA) Sum(x []float32) float32 {
	n := len(x) / group * group
	var s lanes
	if n > 0 {
		if isa == Generic {
			s = sumGroups(x[:n])
		} else {
			sumAVX2(&s[0], &x[0], n/group)
		}
	}
	for i, v := range x[n:] {
		s[i%8] += v
	}
	return s.tree()
}

func sumGroups(x []float32) lanes {
	var a [group]float32
	for i, v := range x {
		a[i%group] += v
	}
	return fold(&a)
}

// SumSquares returns Σ x².
func (isa ISA) SumSquares(x []float32) float32 {
	n := len(x) / group * group
	var s lanes
	if n > 0 {
		if isa == Generic {
			s = sumSquaresGroups(x[:n])
		} else {
			sumSquaresAVX2(&s[0], &x[0], n/group)
		}
	}
	for i, v := range x[n:] {
		s[i%8] += float32(v * v)
	}
	return s.tree()
}

func sumSquaresGroups(x []float32) lanes {
	var a [group]float32
	for i, v := range x {
		a[i%group] += float32(v * v)
	}
	return fold(&a)
}

// Dot returns Σ a·b over the length of a; b is at least as long. DotF32 is the
// faster choice for several rows, in another fixed order.
func (isa ISA) Dot(a, b []float32) float32 {
	b = b[:len(a)]
	n := len(a) / group * group
	var s lanes
	if n > 0 {
		if isa == Generic {
			s = dotGroups(a[:n], b)
		} else {
			dotAVX2(&s[0], &a[0], &b[0], n/group)
		}
	}
	for i := n; i < len(a); i++ {
		s[(i-n)%8] += float32(a[i] * b[i])
	}
	return s.tree()
}

func dotGroups(a, b []float32) lanes {
	var s [group]float32
	for i, v := range a {
		s[i%group] += float32(v * b[i])
	}
	return fold(&s)
}

// AbsMax returns the largest |x|, 0 for an empty x. With a NaN in x the result
// is unspecified.
func (isa ISA) AbsMax(x []float32) float32 {
	n := 0
	var m float32
	if isa != Generic {
		if n = len(x) / group * group; n > 0 {
			m = absMaxAVX2(&x[0], n/group)
			if n < len(x) { // the last group again, in part
				m, n = max(m, absMaxAVX2(&x[len(x)-group], 1)), len(x)
			}
		}
	}
	for _, v := range x[n:] {
		m = max(m, abs32(v))
	}
	return m
}

// Max returns the largest x, -Inf for an empty x. With a NaN in x the result is
// unspecified.
func (isa ISA) Max(x []float32) float32 {
	n := 0
	m := float32(math.Inf(-1))
	if isa != Generic {
		if n = len(x) / group * group; n > 0 {
			m = maxAVX2(&x[0], n/group)
			if n < len(x) { // the last group again, in part
				m, n = max(m, maxAVX2(&x[len(x)-group], 1)), len(x)
			}
		}
	}
	for _, v := range x[n:] {
		m = max(m, v)
	}
	return m
}

// SumAbs returns Σ |x| in float64: mean |W| of a large matrix, whose scale every
// weight's code depends on, loses digits in a float32 sum. The order is fixed:
// element i goes to sum i%16 in increasing i, and the 16 sums are added as a
// tree, for every ISA alike.
func (isa ISA) SumAbs(x []float32) float64 {
	var s [16]float64
	n := 0
	if isa != Generic {
		if n = len(x) / 16 * 16; n > 0 {
			sumAbsAVX2(&s[0], &x[0], n/16)
		}
	}
	for i := n; i < len(x); i++ {
		s[i%16] += float64(abs32(x[i]))
	}
	for half := 8; half > 0; half /= 2 {
		for l := range half {
			s[l] += s[l+half]
		}
	}
	return s[0]
}

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }
