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
	dotRowsMost = 8        // rows in the largest tile
	dotTokens   = 3        // most tokens in a tile
	dotBlock    = 16 << 10 // bytes of rows that all tokens pass before the next
)

// dotTail holds the last k%8 elements of some rows, padded with zeros: one
// vector a row, so that kernels read whole vectors only.
type dotTail struct {
	w [dotRowsMost * 8]float32 // or as many 16-bit weights
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

// dotArgs are the arguments of a kernel; strides are in bytes.
type dotArgs struct {
	kind     dotKind
	y        *float32
	ldy      int
	w        *byte
	ldw      int
	x        *float32
	ldx, n   int
	wtail    *byte
	xtail    *float32
	tailSize int // bytes of a row's tail
}

// dotTiles walks the rows once, in blocks that stay in the L1 cache while all
// tokens pass. Arguments as for DotF32, checked and not empty.
func dotTiles(kind dotKind, y []float32, ldy int, w *byte, ldw int, x []float32, ldx, rows, m, k int) {
	rest, size := k%8, kind.size()
	a := dotArgs{kind: kind, ldy: 4 * ldy, ldw: ldw * size, ldx: 4 * ldx, n: k / 8}
	block := max(dotBlock/(k*size)/dotRowsMost, 1) * dotRowsMost
	var tail dotTail
	if rest > 0 {
		a.xtail, a.tailSize = &tail.x[0], 8*size
		block = dotRowsMost
	}
	for r := 0; r < rows; r += block {
		nr := min(block, rows-r)
		if rest > 0 {
			tail.setW(kind, advance(w, r*a.ldw), ldw, nr, k-rest, rest)
		}
		for t := 0; t < m; {
			tokens := dotGroup(m - t)
			if rest > 0 {
				a.wtail = (*byte)(unsafe.Pointer(&tail.w))
				tail.setX(x[t*ldx:], ldx, tokens, k-rest, rest)
			}
			a.y, a.w, a.x = &y[t*ldy+r], advance(w, r*a.ldw), &x[t*ldx]
			a.run(nr, tokens)
			t += tokens
		}
	}
}

// dotGroup is how many of the tokens left go together: never one alone after
// others, so four, a common number of query heads to a key, are two twice.
func dotGroup(left int) int {
	switch {
	case left == 1:
		return 1
	case left == 2 || left == 4:
		return 2
	}
	return dotTokens
}

// run computes rows by tokens sums: whole tiles, then rows one by one. The
// receiver is a copy because stores through a pointer would move it to the heap.
func (a dotArgs) run(rows, tokens int) {
	tile := 4
	if tokens == 1 {
		tile = 8
	}
	if tiles := rows / tile; tiles > 0 {
		a.call(tile, tokens, tiles)
		if rows -= tiles * tile; rows == 0 {
			return
		}
		a.y = &unsafe.Slice(a.y, tiles*tile+1)[tiles*tile]
		a.w = advance(a.w, tiles*tile*a.ldw)
		if a.wtail != nil {
			a.wtail = advance(a.wtail, tiles*tile*a.tailSize)
		}
	}
	one := a
	for t := range tokens {
		one.y = (*float32)(unsafe.Add(unsafe.Pointer(a.y), t*a.ldy))
		one.x = (*float32)(unsafe.Add(unsafe.Pointer(a.x), t*a.ldx))
		if a.xtail != nil {
			one.xtail = (*float32)(unsafe.Add(unsafe.Pointer(a.xtail), 32*t))
		}
		one.call(1, 1, rows)
	}
}

// call runs the kernel for a shape of tile. Direct calls, because through a table
// of functions the tails would escape to the heap.
func (a *dotArgs) call(rows, tokens, tiles int) {
	y, ldy, w, ldw, x, ldx, n, wtail, xtail := a.y, a.ldy, a.w, a.ldw, a.x, a.ldx, a.n, a.wtail, a.xtail
	switch {
	case a.kind == dotF32 && rows == 8:
		dotF32x8x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF32 && rows == 1:
		dotF32x1x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF32 && tokens == 2:
		dotF32x4x2AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF32 && tokens == 3:
		dotF32x4x3AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotBF16 && rows == 8:
		dotBF16x8x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotBF16 && rows == 1:
		dotBF16x1x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotBF16 && tokens == 2:
		dotBF16x4x2AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotBF16 && tokens == 3:
		dotBF16x4x3AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF16 && rows == 8:
		dotF16x8x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF16 && rows == 1:
		dotF16x1x1AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF16 && tokens == 2:
		dotF16x4x2AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	case a.kind == dotF16 && tokens == 3:
		dotF16x4x3AVX2(y, ldy, w, ldw, x, ldx, n, tiles, wtail, xtail)
	}
}
