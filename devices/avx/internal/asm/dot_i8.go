package asm

// DotI8 computes y[t,r] = Σ_i w[r,i]·x[t,i] exactly, for r in [0, rows), t in
// [0, m) and i below k < 2^17. ldy, ldw and ldx are the distances between rows,
// in elements.
func (isa ISA) DotI8(y []int32, ldy int, w []int8, ldw int, x []int8, ldx, rows, m, k int) {
	if !checkDot(len(y), ldy, len(w), ldw, len(x), ldx, rows, m, k) {
		return
	}
	if isa == Generic || k == 0 {
		for t := range m {
			xt := x[t*ldx:][:k]
			for r := range rows {
				var s int32
				for i, v := range w[r*ldw:][:k] {
					s += int32(v) * int32(xt[i])
				}
				y[t*ldy+r] = s
			}
		}
		return
	}
	if isa == AVX512 {
		dotI8AVX512(y, ldy, w, ldw, x, ldx, rows, m, k)
		return
	}
	// Kernels read 16 elements at a time; the rest is padded here.
	n, rest := k/16, k%16
	var wpad [8 * 16]int8
	var xpad [2 * 16]int8
	var wtail, xtail *int8
	if rest > 0 {
		wtail, xtail = &wpad[0], &xpad[0]
	}
	for r := 0; r < rows; {
		tile := 1
		switch left := rows - r; {
		case left >= 8:
			tile = 8
		case left >= 4:
			tile = 4
		}
		if rest > 0 {
			for i := range tile {
				copy(wpad[i*16:], w[(r+i)*ldw+k-rest:][:rest])
			}
		}
		wr := &w[r*ldw]
		for t := 0; t < m; {
			tokens := 1
			if tile > 1 && m-t >= 2 {
				tokens = 2
			}
			if rest > 0 {
				for i := range tokens {
					copy(xpad[i*16:], x[(t+i)*ldx+k-rest:][:rest])
				}
			}
			xt := &x[t*ldx]
			switch {
			case tokens == 2:
				for s := 0; s < tile; s += 4 {
					ws := wtail
					if rest > 0 {
						ws = &wpad[s*16]
					}
					dotI8x4x2AVX2(&y[t*ldy+r+s], 4*ldy, &w[(r+s)*ldw], ldw, xt, ldx, n, ws, xtail)
				}
			case tile == 8:
				dotI8x8AVX2(&y[t*ldy+r], wr, ldw, xt, n, wtail, xtail)
			case tile == 4:
				dotI8x4AVX2(&y[t*ldy+r], wr, ldw, xt, n, wtail, xtail)
			default:
				dotI8x1AVX2(&y[t*ldy+r], wr, ldw, xt, n, wtail, xtail)
			}
			t += tokens
		}
		r += tile
	}
}

// dotI8AVX512 needs no padding: the kernels mask the last elements of a row.
func dotI8AVX512(y []int32, ldy int, w []int8, ldw int, x []int8, ldx, rows, m, k int) {
	for r := 0; r < rows; {
		tile := 1
		switch left := rows - r; {
		case left >= 8:
			tile = 8
		case left >= 4:
			tile = 4
		}
		for t := 0; t < m; {
			out, wr, xt := &y[t*ldy+r], &w[r*ldw], &x[t*ldx]
			tokens := 1
			switch {
			case tile > 1 && m-t >= 4:
				tokens = 4
				for s := 0; s < tile; s += 4 {
					dotI8x4x4AVX512(&y[t*ldy+r+s], 4*ldy, &w[(r+s)*ldw], ldw, xt, ldx, k)
				}
			case tile == 8:
				dotI8x8AVX512(out, wr, ldw, xt, k)
			case tile == 4:
				dotI8x4AVX512(out, wr, ldw, xt, k)
			default:
				dotI8x1AVX512(out, wr, ldw, xt, k)
			}
			t += tokens
		}
		r += tile
	}
}
