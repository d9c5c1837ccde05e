package asm

// Small products on one thread, for attention: B is packed once into memory of
// the caller's and multiplied with one A after another.

// PackedB is the number of floats of a packed k by n matrix.
func PackedB(n, k int) int { return ceilDiv(n, panelB) * panelB * k }

// PackB packs op(B), k by n, into dst.
func (isa ISA) PackB(dst []float32, b Mat, n, k int) {
	b.check(k, n)
	bt := Mat{b.Data, b.Ld, !b.Trans}
	for j := 0; j < n; j += panelB {
		panel := dst[j*k:][:panelB*k]
		if isa == Generic {
			packSlow(panel, bt, j, min(panelB, n-j), panelB, k)
			continue
		}
		packPanel(panel, bt, j, min(panelB, n-j), panelB, k)
	}
}

func packSlow(dst []float32, a Mat, r0, rows, width, k int) {
	for l := range k {
		row := dst[l*width:][:width]
		for r := range rows {
			row[r] = a.at(r0+r, l)
		}
		clear(row[rows:])
	}
}

// SmallEdge is the number of floats of scratch for MulPacked.
const SmallEdge = 12 * 2 * panelB

// MulPacked computes C = A·B, or C += A·B if accumulate is set, for A [m,k] as
// it is stored and B packed by PackB. C is [m,n] with row distance ldc, and
// edge has SmallEdge floats. Each element is one chain of fused multiply-adds
// over k, then the sum with C. (Generic rounds in float64 first; see DotF32.)
func (isa ISA) MulPacked(c []float32, ldc int, a []float32, lda int, packed []float32, m, n, k int, accumulate bool, edge []float32) {
	if m == 0 || n == 0 || k == 0 {
		return
	}
	Mat{Data: a, Ld: lda}.check(m, k)
	if (m-1)*ldc+n > len(c) || m > 1 && ldc < n {
		panic("asm: slice is too short for its shape")
	}
	packed, edge = packed[:PackedB(n, k)], edge[:SmallEdge]
	if isa == Generic {
		mulPackedSlow(c, ldc, a, lda, packed, m, n, k, accumulate)
		return
	}
	mr, nr := 6, panelB
	if isa == AVX512 {
		mr, nr = 12, 2*panelB
	}
	t := sgemmTile{ars: 4 * lda, acs: 4, bstride: 4 * panelB * k, k: k, ldc: ldc, add: accumulate}
	for j := 0; j < n; j += nr {
		t.b, t.cols = &packed[j*k], min(nr, n-j)
		for i := 0; i < m; i += mr {
			t.a, t.rows, t.c = &a[i*lda], min(mr, m-i), c[i*ldc+j:]
			t.run(isa, edge)
		}
	}
}

func mulPackedSlow(c []float32, ldc int, a []float32, lda int, packed []float32, m, n, k int, accumulate bool) {
	for i := range m {
		for j := range n {
			var s float32
			panel := packed[j/panelB*panelB*k+j%panelB:]
			for l := range k {
				s = float32(float64(a[i*lda+l])*float64(panel[l*panelB]) + float64(s))
			}
			if accumulate {
				s += c[i*ldc+j]
			}
			c[i*ldc+j] = s
		}
	}
}
