package asm

// packPanel packs one panel: of A first, then of B.
func (p *Product) packPanel(i int) {
	if i < p.panelsA {
		packPanel(p.pa[i*panelA*p.k:][:panelA*p.k], p.a, i*panelA, min(panelA, p.m-i*panelA), panelA, p.k)
		return
	}
	// B packs by columns as a transposed A does by rows.
	bt := Mat{p.b.Data, p.b.Ld, !p.b.Trans}
	j := (i - p.panelsA) * panelB
	packPanel(p.pb[j*p.k:][:panelB*p.k], bt, j, min(panelB, p.n-j), panelB, p.k)
}

// packPanel writes dst[l*width+r] = a(r0+r, l) for r below rows and l below k,
// and zeros for the other r below width.
func packPanel(dst []float32, a Mat, r0, rows, width, k int) {
	switch {
	case a.Trans && rows == width && width == panelB:
		packCopy16AVX2(&dst[0], &a.Data[r0], 4*a.Ld, k)
		return
	case a.Trans && rows == width:
		packCopy12AVX2(&dst[0], &a.Data[r0], 4*a.Ld, k)
		return
	}
	l := 0
	if rows == width && width == panelB { // not transposed: a row of dst is a column of a
		if l = k / 4 * 4; l > 0 {
			packTranspose16AVX2(&dst[0], &a.Data[r0*a.Ld], 4*a.Ld, k/4)
		}
	}
	for ; l < k; l++ {
		row := dst[l*width:][:width]
		for r := range rows {
			row[r] = a.at(r0+r, l)
		}
		clear(row[rows:])
	}
}

// blockA says where a block of A lies.
type blockA struct {
	data     []float32
	group    int // rows in a panel; panels are panel elements apart
	panel    int
	row, col int // distance between rows of a panel, and between columns
}

// at is the first of the rows from row i of the block on.
func (b *blockA) at(i int) *float32 { return &b.data[i/b.group*b.panel+i%b.group*b.row] }

// blockOfA locates rows [i0, i1) and columns [k0, k0+depth) of A: in the packed
// panels if A is transposed, otherwise in A itself, or in a copy when A's row
// distance would put the rows of a tile on the same few sets of the L1 cache.
func (p *Product) blockOfA(copied []float32, i0, i1, k0, depth int) blockA {
	if p.a.Trans {
		return blockA{p.pa[i0/panelA*panelA*p.k+k0*panelA:], panelA, panelA * p.k, 1, panelA}
	}
	if 4*p.a.Ld%collidingStride != 0 {
		return blockA{p.a.Data[i0*p.a.Ld+k0:], taskRows, 0, p.a.Ld, 1}
	}
	for i := i0; i < i1; i++ {
		copy(copied[(i-i0)*copyLd:][:depth], p.a.Data[i*p.a.Ld+k0:][:depth])
	}
	return blockA{copied, taskRows, 0, copyLd, 1}
}

// collidingStride is a row distance in bytes at which twelve rows share two of
// the 64 sets of a usual L1 cache.
const collidingStride = 2048

// tileTask multiplies a rectangle of C: a panel of B stays in L1 while the rows
// pass.
func (p *Product) tileTask(task, worker int) {
	i0, i1 := task%p.rowTasks*taskRows, min(task%p.rowTasks*taskRows+taskRows, p.m)
	j0 := task / p.rowTasks * p.cols
	j1 := min(j0+p.cols, p.n)
	mr, nr := 6, panelB
	if p.isa == AVX512 {
		mr, nr = 12, 2*panelB
	}
	work := &p.work[worker]
	for k0 := 0; k0 < p.k; k0 += depthK {
		depth := min(depthK, p.k-k0)
		a := p.blockOfA(work.a[:], i0, i1, k0, depth)
		t := sgemmTile{ars: 4 * a.row, acs: 4 * a.col, bstride: 4 * panelB * p.k, k: depth}
		add := p.accumulate || k0 > 0
		for j := j0; j < j1; j += nr {
			t.b = &p.pb[j*p.k+k0*panelB]
			for i := i0; i < i1; i += mr {
				t.a, t.rows = a.at(i-i0), min(mr, i1-i)
				t.c, t.ldc, t.cols, t.add = p.c[i*p.ldc+j:], p.ldc, min(nr, j1-j), add
				t.run(p.isa, work.edge[:])
			}
		}
	}
}

// sgemmTile is one tile: rows by cols elements of C over a block of k.
type sgemmTile struct {
	c          []float32
	ldc        int // in elements, the other distances in bytes
	a, b       *float32
	ars, acs   int
	bstride, k int
	rows, cols int
	add        bool
}

// run computes the tile, by way of edge if C does not hold all its columns.
func (t *sgemmTile) run(isa ISA, edge []float32) {
	width := panelB
	if isa == AVX512 && t.cols > panelB {
		width = 2 * panelB
	}
	add := 0
	if t.add {
		add = 1
	}
	if t.cols == width {
		t.kernel(isa, width, &t.c[0], 4*t.ldc, add)
		return
	}
	t.kernel(isa, width, &edge[0], 4*width, 0)
	for r := range t.rows {
		dst, src := t.c[r*t.ldc:][:t.cols], edge[r*width:][:t.cols]
		if !t.add {
			copy(dst, src)
			continue
		}
		for c, v := range src {
			dst[c] += v
		}
	}
}

func (t *sgemmTile) kernel(isa ISA, width int, c *float32, ldc, add int) {
	switch {
	case isa != AVX512:
		t.runAVX2(c, ldc, add)
	case width == panelB:
		t.runAVX512x16(c, ldc, add)
	default:
		t.runAVX512x32(c, ldc, add)
	}
}
