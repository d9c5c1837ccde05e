package asm

import (
	"math"
	"unsafe"

	"github.com/trit-ml/trit/graph"
)

// Weights of a dot: what their 16 bits mean, if they are not float32.
type weights uint8

const (
	f32 weights = iota
	bf16
	f16
)

// DotF32 computes y[t,r] = Σ_i w[r,i]·x[t,i] for r in [0, rows) and t in [0, m),
// with i below k. w is [rows,k], x is [m,k]; the rows of y are ldy apart.
//
// Element i is multiplied and added to sum i%16 with one rounding, in increasing
// i, and the 16 sums are added as a tree: whatever m, rows and the ISA are. So
// weights may be split over threads by rows, and x by tokens.
func (isa ISA) DotF32(y []float32, ldy int, w, x []float32, rows, m, k int) {
	dots(isa, f32, y, ldy, w, x, rows, m, k, func(v float32) float32 { return v })
}

// DotBF16 is DotF32 with weights in bfloat16.
func (isa ISA) DotBF16(y []float32, ldy int, w []uint16, x []float32, rows, m, k int) {
	dots(isa, bf16, y, ldy, w, x, rows, m, k, graph.BF16ToF32)
}

// DotF16 is DotF32 with weights in IEEE half precision.
func (isa ISA) DotF16(y []float32, ldy int, w []uint16, x []float32, rows, m, k int) {
	dots(isa, f16, y, ldy, w, x, rows, m, k, graph.F16ToF32)
}

func dots[T float32 | uint16](isa ISA, kind weights, y []float32, ldy int, w []T, x []float32, rows, m, k int, widen func(T) float32) {
	w, x = w[:rows*k], x[:m*k]
	n := isa.whole(k)
	for r := range rows {
		wr := w[r*k:][:k]
		for t := range m {
			xt := x[t*k:][:k]
			var s [group]float32
			if n > 0 {
				dotGroups(kind, &s, unsafe.Pointer(&wr[0]), &xt[0], n/group)
			}
			for i := n; i < k; i++ {
				s[i%group] = fma32(widen(wr[i]), xt[i], s[i%group])
			}
			y[t*ldy+r] = tree(&s)
		}
	}
}

// dotGroups is a switch, not a function value, so that s stays on the stack.
func dotGroups(kind weights, s *[group]float32, w unsafe.Pointer, x *float32, groups int) {
	switch kind {
	case bf16:
		dotBF16NEON(&s[0], (*uint16)(w), x, groups)
	case f16:
		dotF16NEON(&s[0], (*uint16)(w), x, groups)
	default:
		dotF32NEON(&s[0], (*float32)(w), x, groups)
	}
}

func tree(s *[group]float32) float32 {
	for half := group / 2; half > 0; half /= 2 {
		for l := range half {
			s[l] += s[l+half]
		}
	}
	return s[0]
}

// fma32 is a·b+c rounded once. The product is exact in float64; the sum is
// rounded to odd there, so that rounding to float32 sees on which side of a tie
// it lies (Boldo and Melquiond 2008).
func fma32(a, b, c float32) float32 {
	p, c64 := float64(a)*float64(b), float64(c)
	s := p + c64
	back := s - p
	rest := (p - (s - back)) + (c64 - back)
	if bits := math.Float64bits(s); rest != 0 && rest == rest && bits&1 == 0 {
		if rest > 0 == (s > 0) {
			s = math.Float64frombits(bits + 1)
		} else {
			s = math.Float64frombits(bits - 1)
		}
	}
	return float32(s)
}
