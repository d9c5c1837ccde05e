package asm

import "unsafe"

// AccumF32 computes dst[i] += Σ_j p[j]·v[j·ldv+i] for i below len(dst), one
// fused multiply-add after the other in increasing j: the probabilities of
// attention times the cached values. Calling it for blocks of j in turn gives
// the bits of one call. (Generic rounds in float64 first; see DotF32.)
func (isa ISA) AccumF32(dst, p, v []float32, ldv int) {
	if !checkAccum(len(dst), len(p), len(v), ldv) {
		return
	}
	n := isa.vectors(len(dst))
	if n > 0 {
		accumF32AVX2(&dst[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), 4*ldv, len(p), n)
	}
	accum(dst, 8*n, p, v, ldv, func(v float32) float32 { return v })
}

// AccumBF16 is AccumF32 with values in bfloat16.
func (isa ISA) AccumBF16(dst, p []float32, v []uint16, ldv int) {
	if !checkAccum(len(dst), len(p), len(v), ldv) {
		return
	}
	n := isa.vectors(len(dst))
	if n > 0 {
		accumBF16AVX2(&dst[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), 2*ldv, len(p), n)
	}
	accum(dst, 8*n, p, v, ldv, bf16ToF32)
}

// AccumF16 is AccumF32 with values in half precision.
func (isa ISA) AccumF16(dst, p []float32, v []uint16, ldv int) {
	if !checkAccum(len(dst), len(p), len(v), ldv) {
		return
	}
	n := isa.vectors(len(dst))
	if n > 0 {
		accumF16AVX2(&dst[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), 2*ldv, len(p), n)
	}
	accum(dst, 8*n, p, v, ldv, f16ToF32)
}

func checkAccum(d, rows, lenv, ldv int) bool {
	if d == 0 || rows == 0 {
		return false
	}
	if ldv < 0 || (rows-1)*ldv+d > lenv {
		panic("asm: slice is too short for its shape")
	}
	return true
}

// accum is the oracle, from element i0 on.
func accum[T any](dst []float32, i0 int, p []float32, v []T, ldv int, widen func(T) float32) {
	for i := i0; i < len(dst); i++ {
		s := dst[i]
		for j, pj := range p {
			s = float32(float64(pj)*float64(widen(v[j*ldv+i])) + float64(s))
		}
		dst[i] = s
	}
}
