package asm

// Kernels that training and positions need, with the rules of elementwise.go:
// every operation rounded once, the same bits on every ISA.

// MulAdd writes dst = dst + a·b, both operations rounded.
func (isa ISA) MulAdd(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		mulAddAVX2(&dst[0], &a[0], &b[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] += float32(a[i] * b[i])
	}
}

// SubMul writes dst = (a - s)·b: the gradient of a softmax with outputs b, for
// the gradient a of its outputs and s = Σ a·b.
func (isa ISA) SubMul(dst, a []float32, s float32, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		subMulAVX2(&dst[0], &a[0], &b[0], n, s)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = float32(a[i]-s) * b[i]
	}
}

// Relu2 writes dst = max(x, 0)². A NaN stays.
func (isa ISA) Relu2(dst, x []float32) {
	x = x[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		relu2AVX2(&dst[0], &x[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		r := relu(x[i])
		dst[i] = r * r
	}
}

// Relu2Grad writes dst = (2·max(x, 0))·dy.
func (isa ISA) Relu2Grad(dst, x, dy []float32) {
	x, dy = x[:len(dst)], dy[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		relu2GradAVX2(&dst[0], &x[0], &dy[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		r := relu(x[i])
		dst[i] = float32(r+r) * dy[i]
	}
}

// relu is max(v, 0); a NaN stays.
func relu(v float32) float32 {
	if v < 0 {
		return 0
	}
	return v
}

// InvRMS returns 1/sqrt(mean(x²)+eps), the factor of RMSNorm.
func (isa ISA) InvRMS(x []float32, eps float32) float32 { return isa.rmsFactor(x, eps) }

// ExpScaled writes dst = e^(x·scale - shift); see Exp.
func (isa ISA) ExpScaled(dst, x []float32, scale, shift float32) {
	isa.expAffine(dst, x, scale, shift)
}

// Rotate turns the pairs (x[i], x[i+half]) by the angles whose cosines and sines
// are given, half of each, backwards if inverse. y may be x.
func (isa ISA) Rotate(y, x, cos, sin []float32, inverse bool) {
	half := len(cos)
	sin = sin[:half]
	x0, x1, y0, y1 := x[:half], x[half:2*half], y[:half], y[half:2*half]
	n := isa.vectors(half)
	if n > 0 {
		// Backwards is with the sines negated, which changes no rounding.
		sign := uint32(0)
		if inverse {
			sign = 1 << 31
		}
		rotateAVX2(&y0[0], &y1[0], &x0[0], &x1[0], &cos[0], &sin[0], n, sign)
	}
	for i := 8 * n; i < half; i++ {
		a, b, c, s := x0[i], x1[i], cos[i], sin[i]
		if inverse {
			s = -s
		}
		y0[i], y1[i] = float32(a*c)-float32(b*s), float32(b*c)+float32(a*s)
	}
}
