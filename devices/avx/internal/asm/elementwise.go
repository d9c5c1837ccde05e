package asm

// Element-wise kernels round every operation once, in the order written, so
// that their bits are the same on every ISA. Slices after dst have at least
// len(dst) elements; dst may be any of them.

// Add writes dst = a + b.
func (isa ISA) Add(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		addAVX2(&dst[0], &a[0], &b[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = a[i] + b[i]
	}
}

// Mul writes dst = a·b.
func (isa ISA) Mul(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		mulAVX2(&dst[0], &a[0], &b[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = a[i] * b[i]
	}
}

// Scale writes dst = x·a.
func (isa ISA) Scale(dst, x []float32, a float32) {
	x = x[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		scaleAVX2(&dst[0], &x[0], n, a)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = x[i] * a
	}
}

// Axpy writes dst = dst + x·a.
func (isa ISA) Axpy(dst, x []float32, a float32) {
	x = x[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		axpyAVX2(&dst[0], &x[0], n, a)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] += float32(x[i] * a)
	}
}

// Relu2Mul writes dst = max(g, 0)²·u. A NaN stays.
func (isa ISA) Relu2Mul(dst, g, u []float32) {
	g, u = g[:len(dst)], u[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		relu2MulAVX2(&dst[0], &g[0], &u[0], n)
	}
	for i := 8 * n; i < len(dst); i++ {
		r := relu(g[i])
		dst[i] = float32(r*r) * u[i]
	}
}

// Rescale writes dst = float32(acc)·s: the sums of a ternary product as
// activations, with s = γ/scale.
func (isa ISA) Rescale(dst []float32, acc []int32, s float32) {
	acc = acc[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		rescaleAVX2(&dst[0], &acc[0], n, s)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = float32(acc[i]) * s
	}
}

// RescaleAdd writes dst = float32(acc)·s + res.
func (isa ISA) RescaleAdd(dst []float32, acc []int32, s float32, res []float32) {
	acc, res = acc[:len(dst)], res[:len(dst)]
	n := isa.vectors(len(dst))
	if n > 0 {
		rescaleAddAVX2(&dst[0], &acc[0], &res[0], n, s)
	}
	for i := 8 * n; i < len(dst); i++ {
		dst[i] = float32(float32(acc[i])*s) + res[i]
	}
}

// vectors is the number of whole vectors of eight that assembly should do.
func (isa ISA) vectors(n int) int {
	if isa == Generic {
		return 0
	}
	return n / 8
}
