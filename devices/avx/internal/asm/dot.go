package asm

import "unsafe"

// DotF32 computes y[t,r] = Σ_i w[r,i]·x[t,i] for r in [0, rows) and t in [0, m),
// with i below k. ldy, ldw and ldx are the distances between rows, in elements.
//
// Element i is multiplied and added to sum i%8 with one rounding, in increasing
// i, and the eight sums are added as a tree: whatever m, rows and the ISA are.
// (Generic rounds in float64 first, which differs in about one sum of 10^8.)
// So weights may be split over threads by rows, and x by tokens.
func (isa ISA) DotF32(y []float32, ldy int, w []float32, ldw int, x []float32, ldx, rows, m, k int) {
	if !checkDot(len(y), ldy, len(w), ldw, len(x), ldx, rows, m, k) {
		return
	}
	if isa == Generic || k == 0 {
		dotRows(y, ldy, w, ldw, x, ldx, rows, m, k, func(v float32) float32 { return v })
		return
	}
	isa.dotTiles(dotF32, y, ldy, (*byte)(unsafe.Pointer(&w[0])), ldw, x, ldx, rows, m, k)
}

// DotBF16 is DotF32 with weights in bfloat16.
func (isa ISA) DotBF16(y []float32, ldy int, w []uint16, ldw int, x []float32, ldx, rows, m, k int) {
	if !checkDot(len(y), ldy, len(w), ldw, len(x), ldx, rows, m, k) {
		return
	}
	if isa == Generic || k == 0 {
		dotRows(y, ldy, w, ldw, x, ldx, rows, m, k, bf16ToF32)
		return
	}
	isa.dotTiles(dotBF16, y, ldy, (*byte)(unsafe.Pointer(&w[0])), ldw, x, ldx, rows, m, k)
}

// DotF16 is DotF32 with weights in IEEE half precision.
func (isa ISA) DotF16(y []float32, ldy int, w []uint16, ldw int, x []float32, ldx, rows, m, k int) {
	if !checkDot(len(y), ldy, len(w), ldw, len(x), ldx, rows, m, k) {
		return
	}
	if isa == Generic || k == 0 {
		dotRows(y, ldy, w, ldw, x, ldx, rows, m, k, f16ToF32)
		return
	}
	isa.dotTiles(dotF16, y, ldy, (*byte)(unsafe.Pointer(&w[0])), ldw, x, ldx, rows, m, k)
}

// checkDot panics unless the slices hold the strided matrices, and reports
// whether there is anything to do.
func checkDot(leny, ldy, lenw, ldw, lenx, ldx, rows, m, k int) bool {
	if rows < 0 || m < 0 || k < 0 || m > 1 && (ldy < rows || ldx < k) || rows > 1 && ldw < k {
		panic("asm: rows overlap or sizes are negative")
	}
	if rows == 0 || m == 0 {
		return false
	}
	if (m-1)*ldy+rows > leny || (rows-1)*ldw+k > lenw || (m-1)*ldx+k > lenx {
		panic("asm: slice is too short for its shape")
	}
	return true
}

// dotRows is the oracle.
func dotRows[T any](y []float32, ldy int, w []T, ldw int, x []float32, ldx, rows, m, k int, widen func(T) float32) {
	for t := range m {
		xt := x[t*ldx:][:k]
		for r := range rows {
			var s lanes
			for i, v := range w[r*ldw:][:k] {
				s[i%8] = float32(float64(widen(v))*float64(xt[i]) + float64(s[i%8]))
			}
			y[t*ldy+r] = s.tree()
		}
	}
}
