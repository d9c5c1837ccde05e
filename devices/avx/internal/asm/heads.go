package asm

import "unsafe"

// HeadsF32 is AccumF32 for m heads that share the rows of v: dst[h,i] +=
// Σ_j p[h,j]·v[j·ldv+i] for i below hd and j below rows, with the same bits. lddst
// and ldp are the distances between heads, in elements.
func (isa ISA) HeadsF32(dst []float32, lddst int, p []float32, ldp int, v []float32, ldv, rows, m, hd int) {
	if len(v) == 0 {
		return
	}
	w := weights{dotF32, (*byte)(unsafe.Pointer(&v[0])), len(v), ldv}
	isa.heads(dst, lddst, p, ldp, w, rows, m, hd, func(dst, p []float32, at int) { isa.AccumF32(dst, p, v[at:], ldv) })
}

// HeadsBF16 is HeadsF32 with values in bfloat16.
func (isa ISA) HeadsBF16(dst []float32, lddst int, p []float32, ldp int, v []uint16, ldv, rows, m, hd int) {
	if len(v) == 0 {
		return
	}
	w := weights{dotBF16, (*byte)(unsafe.Pointer(&v[0])), len(v), ldv}
	isa.heads(dst, lddst, p, ldp, w, rows, m, hd, func(dst, p []float32, at int) { isa.AccumBF16(dst, p, v[at:], ldv) })
}

// HeadsF16 is HeadsF32 with values in half precision.
func (isa ISA) HeadsF16(dst []float32, lddst int, p []float32, ldp int, v []uint16, ldv, rows, m, hd int) {
	if len(v) == 0 {
		return
	}
	w := weights{dotF16, (*byte)(unsafe.Pointer(&v[0])), len(v), ldv}
	isa.heads(dst, lddst, p, ldp, w, rows, m, hd, func(dst, p []float32, at int) { isa.AccumF16(dst, p, v[at:], ldv) })
}

// weights are rows of any kind; n counts elements.
type weights struct {
	kind  dotKind
	first *byte
	n, ld int
}

// heads takes four heads together as far as there are as many, and whole passes
// of columns; one does the rest head by head, from a column on.
func (isa ISA) heads(dst []float32, lddst int, p []float32, ldp int, w weights, rows, m, hd int, one func(dst, p []float32, at int)) {
	if m == 0 || rows == 0 || hd == 0 {
		return
	}
	if lddst < 0 || ldp < 0 || (m-1)*lddst+hd > len(dst) || (m-1)*ldp+rows > len(p) || !checkAccum(hd, rows, w.n, w.ld) {
		panic("asm: slice is too short for its shape")
	}
	pass := 16
	if isa == AVX512 {
		pass = 64
	}
	passes, h := hd/pass, 0
	for ; isa != Generic && passes > 0 && h+4 <= m; h += 4 {
		size := w.kind.size()
		accum4(isa, w.kind, &dst[h*lddst], 4*lddst, &p[h*ldp], 4*ldp, w.first, size*w.ld, rows, passes, headsAhead*size*w.ld)
		if at := passes * pass; at < hd {
			for i := h; i < h+4; i++ {
				one(dst[i*lddst+at:][:hd-at], p[i*ldp:][:rows], at)
			}
		}
	}
	for ; h < m; h++ {
		one(dst[h*lddst:][:hd], p[h*ldp:][:rows], 0)
	}
}

// Prefetch asks for memory that will be read soon.
func (isa ISA) Prefetch(b []byte) {
	if isa != Generic && len(b) >= 64 {
		prefetchLines(&b[0], len(b)/64)
	}
}

func accum4(isa ISA, kind dotKind, dst *float32, lddst int, p *float32, ldp int, v *byte, ldv, rows, n, ahead int) {
	switch {
	case isa == AVX512 && kind == dotF32:
		accum4F32AVX512(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	case isa == AVX512 && kind == dotBF16:
		accum4BF16AVX512(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	case isa == AVX512:
		accum4F16AVX512(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	case kind == dotF32:
		accum4F32AVX2(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	case kind == dotBF16:
		accum4BF16AVX2(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	default:
		accum4F16AVX2(dst, lddst, p, ldp, v, ldv, rows, n, ahead)
	}
}

// headsAhead is how many rows ahead memory is asked for: the part of a head in a
// row of the cache is too short for the processor to see where it goes on.
const headsAhead = 32

// dotTiles takes four tokens and eight rows at a time where AVX-512 allows it, and
// leaves the others to the AVX2 tiles; the bits are the same. Arguments as for
// DotF32, checked and not empty.
func (isa ISA) dotTiles(kind dotKind, y []float32, ldy int, w *byte, ldw int, x []float32, ldx, rows, m, k int) {
	size := kind.size()
	tiled := 0
	// Rows longer than this are weights, not heads: their tiles stay as they are.
	if isa == AVX512 && m >= 4 && k*size%64 == 0 && k <= 256 {
		tiled = rows / 8 * 8
	}
	t := 0
	for ; tiled > 0 && t+4 <= m; t += 4 {
		yt, xt, n, tiles, ahead := &y[t*ldy], &x[t*ldx], k*size/64, tiled/8, headsAhead*ldw*size
		switch kind {
		case dotF32:
			dot4F32AVX512(yt, 4*ldy, w, size*ldw, xt, 4*ldx, n, tiles, ahead)
		case dotBF16:
			dot4BF16AVX512(yt, 4*ldy, w, size*ldw, xt, 4*ldx, n, tiles, ahead)
		default:
			dot4F16AVX512(yt, 4*ldy, w, size*ldw, xt, 4*ldx, n, tiles, ahead)
		}
	}
	if t < m && tiled > 0 {
		dotTiles(kind, y[t*ldy:], ldy, w, ldw, x[t*ldx:], ldx, tiled, m-t, k)
	}
	if tiled < rows {
		dotTiles(kind, y[tiled:], ldy, advance(w, tiled*ldw*size), ldw, x, ldx, rows-tiled, m, k)
	}
}
