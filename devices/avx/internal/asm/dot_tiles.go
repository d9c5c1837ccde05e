package asm

import "unsafe"

// dotKind is the type of the weights.
type dotKind uint8

const (
	dotF32 dotKind = iota
	dotBF16
	dotF16
)

// size is the bytes of a weight.
func (kind dotKind) size() int {
	if kind == dotF32 {
		return 4
	}
	return 2
}

const (
	dotRowsOne  = 8 // rows in a tile of one token
	dotRowsWide = 4 // rows in a tile of dotTokens tokens
	dotTokens   = 3
)

// dotTail holds the last k%8 elements of a tile's rows, padded with zeros: one
// vector a row, so that kernels read whole vectors only.
type dotTail struct {
	w [dotRowsOne * 8]float32 // or as many 16-bit weights
	x [dotTokens * 8]float32
}

func (d *dotTail) setW(kind dotKind, w *byte, ldw, rows, from, n int) {
	size := kind.size()
	dst := unsafe.Slice((*byte)(unsafe.Pointer(&d.w)), len(d.w)*4)
	for r := range rows {
		src := unsafe.Slice(advance(w, (r*ldw+from)*size), n*size)
		clear(dst[r*8*size:][:8*size])
		copy(dst[r*8*size:], src)
	}
}

func (d *dotTail) setX(x []float32, ldx, tokens, from, n int) {
	for t := range tokens {
		clear(d.x[t*8:][:8])
		copy(d.x[t*8:][:8], x[t*ldx+from:][:n])
	}
}

// dotTiles walks the rows once, so that a tile's rows stay in the L1 cache for
// all tokens. Arguments as for DotF32, checked and not empty.
func dotTiles(kind dotKind, y []float32, ldy int, w *byte, ldw int, x []float32, ldx, rows, m, k int) {
	n, rest, size := k/8, k%8, kind.size()
	var tail dotTail
	var wtail *byte
	var xtail *float32
	if rest > 0 {
		wtail, xtail = (*byte)(unsafe.Pointer(&tail.w)), &tail.x[0]
	}
	for r := 0; r < rows; {
		tile := 1
		switch left := rows - r; {
		case left >= dotRowsOne:
			tile = dotRowsOne
		case left >= dotRowsWide:
			tile = dotRowsWide
		}
		if rest > 0 {
			tail.setW(kind, advance(w, r*ldw*size), ldw, tile, k-rest, rest)
		}
		for t := 0; t < m; {
			xt := x[t*ldx:]
			tokens := 1
			if tile > 1 && m-t >= dotTokens {
				tokens = dotTokens
			}
			if rest > 0 {
				tail.setX(xt, ldx, tokens, k-rest, rest)
			}
			out := y[t*ldy+r:]
			wr := advance(w, r*ldw*size)
			if tokens == 1 {
				dotOne(kind, tile, &out[0], wr, ldw*size, &xt[0], n, wtail, xtail)
			} else {
				for s := 0; s < tile; s += dotRowsWide {
					ws, wts := advance(wr, s*ldw*size), wtail
					if rest > 0 {
						wts = advance(wtail, s*8*size)
					}
					dotWide(kind, &out[s], 4*ldy, ws, ldw*size, &xt[0], 4*ldx, n, wts, xtail)
				}
			}
			t += tokens
		}
		r += tile
	}
}

// dotOne runs the kernel of one token and 8, 4 or 1 rows. Strides are in bytes.
func dotOne(kind dotKind, rows int, y *float32, w *byte, ldw int, x *float32, n int, wtail *byte, xtail *float32) {
	switch {
	case kind == dotF32 && rows == 8:
		dotF32x8AVX2(y, w, ldw, x, n, wtail, xtail)
	case kind == dotF32 && rows == 4:
		dotF32x4AVX2(y, w, ldw, x, n, wtail, xtail)
	case kind == dotF32:
		dotF32x1AVX2(y, w, ldw, x, n, wtail, xtail)
	case kind == dotBF16 && rows == 8:
		dotBF16x8AVX2(y, w, ldw, x, n, wtail, xtail)
	case kind == dotBF16 && rows == 4:
		dotBF16x4AVX2(y, w, ldw, x, n, wtail, xtail)
	case kind == dotBF16:
		dotBF16x1AVX2(y, w, ldw, x, n, wtail, xtail)
	case rows == 8:
		dotF16x8AVX2(y, w, ldw, x, n, wtail, xtail)
	case rows == 4:
		dotF16x4AVX2(y, w, ldw, x, n, wtail, xtail)
	default:
		dotF16x1AVX2(y, w, ldw, x, n, wtail, xtail)
	}
}

// dotWide runs the kernel of 3 tokens and 4 rows. Strides are in bytes.
func dotWide(kind dotKind, y *float32, ldy int, w *byte, ldw int, x *float32, ldx, n int, wtail *byte, xtail *float32) {
	switch kind {
	case dotF32:
		dotF32x4x3AVX2(y, ldy, w, ldw, x, ldx, n, wtail, xtail)
	case dotBF16:
		dotBF16x4x3AVX2(y, ldy, w, ldw, x, ldx, n, wtail, xtail)
	case dotF16:
		dotF16x4x3AVX2(y, ldy, w, ldw, x, ldx, n, wtail, xtail)
	}
}
