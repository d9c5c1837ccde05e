package asm

// The switches below call kernels directly rather than through tables, because
// a call through a function value makes its arguments escape to the heap.

func (t *sgemmTile) runAVX2(c *float32, ldc, add int) {
	a, ars, acs, b, bstride, k := t.a, t.ars, t.acs, t.b, t.bstride, t.k
	switch t.rows {
	case 1:
		sgemmAVX2x1x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 2:
		sgemmAVX2x2x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 3:
		sgemmAVX2x3x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 4:
		sgemmAVX2x4x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 5:
		sgemmAVX2x5x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 6:
		sgemmAVX2x6x16(c, ldc, a, ars, acs, b, bstride, k, add)
	}
}

func (t *sgemmTile) runAVX512x16(c *float32, ldc, add int) {
	a, ars, acs, b, bstride, k := t.a, t.ars, t.acs, t.b, t.bstride, t.k
	switch t.rows {
	case 1:
		sgemmAVX512x1x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 2:
		sgemmAVX512x2x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 3:
		sgemmAVX512x3x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 4:
		sgemmAVX512x4x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 5:
		sgemmAVX512x5x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 6:
		sgemmAVX512x6x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 7:
		sgemmAVX512x7x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 8:
		sgemmAVX512x8x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 9:
		sgemmAVX512x9x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 10:
		sgemmAVX512x10x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 11:
		sgemmAVX512x11x16(c, ldc, a, ars, acs, b, bstride, k, add)
	case 12:
		sgemmAVX512x12x16(c, ldc, a, ars, acs, b, bstride, k, add)
	}
}

func (t *sgemmTile) runAVX512x32(c *float32, ldc, add int) {
	a, ars, acs, b, bstride, k := t.a, t.ars, t.acs, t.b, t.bstride, t.k
	switch t.rows {
	case 1:
		sgemmAVX512x1x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 2:
		sgemmAVX512x2x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 3:
		sgemmAVX512x3x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 4:
		sgemmAVX512x4x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 5:
		sgemmAVX512x5x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 6:
		sgemmAVX512x6x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 7:
		sgemmAVX512x7x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 8:
		sgemmAVX512x8x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 9:
		sgemmAVX512x9x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 10:
		sgemmAVX512x10x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 11:
		sgemmAVX512x11x32(c, ldc, a, ars, acs, b, bstride, k, add)
	case 12:
		sgemmAVX512x12x32(c, ldc, a, ars, acs, b, bstride, k, add)
	}
}
