package asm

// Ternary weights with a scale for each group of columns along a row: the products of
// a group are those of a matrix of its columns, whose blocks lie together in a panel.
// Groups are whole blocks.

// GroupScales writes the scales gamma [n,groups] of rows [r0, r1) to dst, for each
// panel by groups, 16 together; those of rows that only pad are zero. dst has
// GroupScalesLen(r1-r0, groups) elements; r0 is a multiple of PanelRows.
func (isa ISA) GroupScales(dst, gamma []float32, groups, r0, r1 int) {
	gamma = gamma[:r1*groups]
	for r := r0; r < r1; r += PanelRows {
		panel := dst[(r-r0)*groups:][:PanelRows*groups]
		rows, whole := min(PanelRows, r1-r), 0
		if isa != Generic && rows == PanelRows && groups >= 4 {
			whole = groups / 4 * 4
			packTranspose16AVX2(&panel[0], &gamma[r*groups], 4*groups, groups/4)
		}
		tail := panel[whole*PanelRows:]
		clear(tail)
		for i := range rows {
			for j, v := range gamma[(r+i)*groups+whole : (r+i+1)*groups] {
				tail[j*PanelRows+i] = v
			}
		}
	}
}

// GroupScalesLen is the length of what GroupScales writes.
func GroupScalesLen(rows, groups int) int { return ceilDiv(rows, PanelRows) * PanelRows * groups }

// groupTile is the sums of a tile.
type groupTile struct {
	gemmTile
	sums [tileTokens * 2 * PanelRows]float32
}

// GroupScratch is a worker's memory for the products of groups.
type GroupScratch struct{ tile groupTile }

// TernaryMulGroups computes y[t,r] = (Σ_g scales[r,g]·Σ_i q[t,i]·w[r,i])/s[t], i in
// group g, for rows [0, rows) and m tokens: the inner sums are exact, the outer one
// goes by groups, each product and each sum rounded. panels are those of TernaryPanels
// for these rows, scales those of GroupScales. qsums[t,g] is the sum of q over group
// g. ldy is the distance of rows of y.
func (isa ISA) TernaryMulGroups(y []float32, ldy int, panels []byte, q []int8, qsums []int32, scales, s []float32, m, rows, k, groups int, mem *GroupScratch) {
	if m == 0 || rows == 0 {
		return
	}
	size := k / groups
	checkGroups(len(y), ldy, m, rows, k, groups)
	panels, q, qsums, s = panels[:TernaryPanelsBytes(rows, k)], q[:m*k], qsums[:m*groups], s[:m]
	scales = scales[:GroupScalesLen(rows, groups)]
	g, tokens := &mem.tile, isa.tileShape()
	g.c, g.ldc, g.ldw, g.ldq = &g.out[0], 2*PanelRows, PanelRows*k, k
	for r := 0; r < rows; {
		wide := 1
		if isa == AVX512 && r+PanelRows < rows {
			wide = 2
		}
		g.panels = wide
		for t := 0; t < m; t += tokens {
			g.tokens = min(tokens, m-t)
			clear(g.sums[:])
			for i := range groups {
				at := r*k + i*size*PanelRows
				if isa == Generic {
					g.generic(panels[at:], q[t*k+i*size:], size)
				} else {
					for j := range g.tokens {
						g.init[j] = -qsums[(t+j)*groups+i]
					}
					g.w, g.q = &panels[at], &q[t*k+i*size]
					g.run(isa, size/BlockCols)
				}
				for p := range wide {
					isa.groupAdd(g.sums[p*PanelRows:], g.out[p*PanelRows:], scales[(r+p*PanelRows)*groups+i*PanelRows:], g.tokens)
				}
			}
			for p := range wide {
				from := r + p*PanelRows
				isa.groupDivide(y[t*ldy+from:], ldy, g.sums[p*PanelRows:], s[t:], min(PanelRows, rows-from), g.tokens)
			}
		}
		r += wide * PanelRows
	}
}

// TernaryGroupsGEMV is TernaryMulGroups for one token and packed weights, of rows [r0,
// r1); scales are those of these rows. y and qsums are of one token.
func (isa ISA) TernaryGroupsGEMV(y []float32, packed []byte, q []int8, qsums []int32, scales []float32, s float32, n, k, groups, r0, r1 int, mem *GroupScratch) {
	checkRows(n, r0, r1)
	checkGroups(len(y), 0, 1, n, k, groups)
	size, pb := k/groups, panelBytes(k)
	packed, q, qsums, scales = packed[:PackedBytes(n, k)], q[:k], qsums[:groups], scales[:GroupScalesLen(r1-r0, groups)]
	g := &mem.tile
	for r := r0; r < r1; r += PanelRows {
		clear(g.sums[:PanelRows])
		for i := range groups {
			at := r/PanelRows*pb + i*size/BlockCols*blockBytes
			if isa == Generic {
				ternaryGEMV(g.out[:PanelRows], packed[at:][:panelBytes(size)], q[i*size:][:size], qsums[i], size, 0, PanelRows)
			} else {
				isa.gemvPanels(&g.out[0], &packed[at], &q[i*size], nil, size/BlockCols, 1, -qsums[i])
			}
			isa.groupAdd(g.sums[:], g.out[:], scales[(r-r0)*groups+i*PanelRows:], 1)
		}
		isa.groupDivide(y[r:], n, g.sums[:], []float32{s}, min(PanelRows, r1-r), 1)
	}
}

// GroupFits reports whether groups are whole blocks.
func GroupFits(k, groups int) bool {
	return k > 0 && groups > 0 && k%groups == 0 && k/groups%BlockCols == 0
}

func checkGroups(leny, ldy, m, rows, k, groups int) {
	if !GroupFits(k, groups) || m > 1 && ldy < rows || (m-1)*ldy+rows > leny {
		panic("asm: groups are not whole blocks, or rows overlap")
	}
}

// generic is the oracle of a tile for one group of size columns.
func (g *groupTile) generic(panel []byte, q []int8, size int) {
	for j := range g.tokens {
		for r := range g.panels * PanelRows {
			w, sum := panel[r/PanelRows*g.ldw:], int32(0)
			for i, v := range q[j*g.ldq:][:size] {
				sum += int32(v) * (int32(w[i/4*64+4*(r%PanelRows)+i%4]) - 1)
			}
			g.out[j*g.ldc+r] = sum
		}
	}
}

// groupAdd adds acc times gamma to the sums of a panel.
func (isa ISA) groupAdd(y []float32, acc []int32, gamma []float32, tokens int) {
	const ld = 2 * PanelRows
	y, acc, gamma = y[:(tokens-1)*ld+PanelRows], acc[:(tokens-1)*ld+PanelRows], gamma[:PanelRows]
	if isa != Generic {
		groupAddAVX2(&y[0], 4*ld, &acc[0], 4*ld, &gamma[0], tokens)
		return
	}
	for t := range tokens {
		for r, f := range gamma {
			y[t*ld+r] += float32(float32(acc[t*ld+r]) * f)
		}
	}
}

// groupDivide writes the sums of some rows of a panel, divided by the tokens' s.
func (isa ISA) groupDivide(y []float32, ldy int, x, s []float32, rows, tokens int) {
	const ld = 2 * PanelRows
	if isa != Generic && rows == PanelRows {
		y, x, s = y[:(tokens-1)*ldy+PanelRows], x[:(tokens-1)*ld+PanelRows], s[:tokens]
		groupDivideAVX2(&y[0], 4*ldy, &x[0], 4*ld, &s[0], tokens)
		return
	}
	for t := range tokens {
		for r, v := range x[t*ld:][:rows] {
			y[t*ldy+r] = v / s[t]
		}
	}
}
