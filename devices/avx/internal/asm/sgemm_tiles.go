package asm

// panelA is the number of rows in a packed panel of a transposed A, a multiple
// of every tile's rows.
const panelA = 12

// mulPacked packs what must be and multiplies, strip by strip.
func (g *SGEMM) mulPacked() error {
	width := max(sgemmPack/g.k/sgemmN, 4) * sgemmN
	if g.packATasks = 0; g.a.Trans {
		g.packATasks = ceilDiv(g.m, panelA)
		g.pa = grow(g.pa, g.packATasks*panelA*g.k)
	}
	g.rowTasks = ceilDiv(g.m, sgemmRows)
	for g.n0 = 0; g.n0 < g.n; g.n0 = g.n1 {
		g.n1 = min(g.n0+width, g.n)
		panels := ceilDiv(g.n1-g.n0, sgemmN)
		g.pb = grow(g.pb, panels*sgemmN*g.k)
		if err := g.run.Run(g.packATasks+panels, g.pack); err != nil {
			return err
		}
		g.packATasks = 0 // once is enough
		g.cols = sgemmCols
		for g.cols > 4*sgemmN && g.rowTasks*ceilDiv(g.n1-g.n0, g.cols) < 4*g.run.Threads() {
			g.cols /= 2
		}
		if err := g.run.Run(g.rowTasks*ceilDiv(g.n1-g.n0, g.cols), g.tiles); err != nil {
			return err
		}
	}
	return nil
}

// grow returns a slice of length n, reusing s if it can.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// packTask packs one panel: of A first, then of B.
func (g *SGEMM) packTask(task, _ int) {
	if task < g.packATasks {
		packPanel(g.pa[task*panelA*g.k:][:panelA*g.k], g.a, task*panelA, min(panelA, g.m-task*panelA), panelA, g.k)
		return
	}
	p := task - g.packATasks
	// B packs by columns as a transposed A does by rows.
	bt := Mat{g.b.Data, g.b.Ld, !g.b.Trans}
	j := g.n0 + p*sgemmN
	packPanel(g.pb[p*sgemmN*g.k:][:sgemmN*g.k], bt, j, min(sgemmN, g.n1-j), sgemmN, g.k)
}

// packPanel writes dst[l*width+r] = a(r0+r, l) for r below rows and l below k,
// and zeros for the other r below width.
func packPanel(dst []float32, a Mat, r0, rows, width, k int) {
	switch {
	case a.Trans && rows == width && width == sgemmN:
		packCopy16AVX2(&dst[0], &a.Data[r0], 4*a.Ld, k)
		return
	case a.Trans && rows == width:
		packCopy12AVX2(&dst[0], &a.Data[r0], 4*a.Ld, k)
		return
	}
	l := 0
	if rows == width && width == sgemmN { // not transposed: a row of dst is a column of a
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
func (g *SGEMM) blockOfA(copied []float32, i0, i1, k0, depth int) blockA {
	if g.a.Trans {
		return blockA{g.pa[i0/panelA*panelA*g.k+k0*panelA:], panelA, panelA * g.k, 1, panelA}
	}
	if 4*g.a.Ld%collidingStride != 0 {
		return blockA{g.a.Data[i0*g.a.Ld+k0:], sgemmRows, 0, g.a.Ld, 1}
	}
	for i := i0; i < i1; i++ {
		copy(copied[(i-i0)*copyLd:][:depth], g.a.Data[i*g.a.Ld+k0:][:depth])
	}
	return blockA{copied, sgemmRows, 0, copyLd, 1}
}

// collidingStride is a row distance in bytes at which twelve rows share two of
// the 64 sets of a usual L1 cache.
const collidingStride = 2048

// tileTask multiplies a rectangle of C: a panel of B stays in L1 while the rows
// pass.
func (g *SGEMM) tileTask(task, worker int) {
	i0, i1 := task%g.rowTasks*sgemmRows, min(task%g.rowTasks*sgemmRows+sgemmRows, g.m)
	j0 := g.n0 + task/g.rowTasks*g.cols
	j1 := min(j0+g.cols, g.n1)
	mr, nr := 6, sgemmN
	if g.isa == AVX512 {
		mr, nr = 12, 2*sgemmN
	}
	work := &g.work[worker]
	for k0 := 0; k0 < g.k; k0 += sgemmK {
		depth := min(sgemmK, g.k-k0)
		a := g.blockOfA(work.a[:], i0, i1, k0, depth)
		t := sgemmTile{ars: 4 * a.row, acs: 4 * a.col, bstride: 4 * sgemmN * g.k, k: depth}
		add := g.accumulate || k0 > 0
		for j := j0; j < j1; j += nr {
			t.b = &g.pb[(j-g.n0)/sgemmN*sgemmN*g.k+k0*sgemmN]
			for i := i0; i < i1; i += mr {
				t.a, t.rows = a.at(i-i0), min(mr, i1-i)
				t.c, t.ldc, t.cols, t.add = g.c[i*g.ldc+j:], g.ldc, min(nr, j1-j), add
				t.run(g.isa, work.edge[:])
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
	width := sgemmN
	if isa == AVX512 && t.cols > sgemmN {
		width = 2 * sgemmN
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
	case width == sgemmN:
		t.runAVX512x16(c, ldc, add)
	default:
		t.runAVX512x32(c, ldc, add)
	}
}
