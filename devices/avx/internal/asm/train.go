package asm

// MulAdd writes dst = dst + a·b, both operations rounded.
func (isa ISA) MulAdd(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] += float32(a[i] * b[i])
	}
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
	if inverse {
		for i, c := range cos {
			a, b, s := x0[i], x1[i], sin[i]
			y0[i], y1[i] = float32(a*c)+float32(b*s), float32(b*c)-float32(a*s)
		}
		return
	}
	for i, c := range cos {
		a, b, s := x0[i], x1[i], sin[i]
		y0[i], y1[i] = float32(a*c)-float32(b*s), float32(b*c)+float32(a*s)
	}
}
