package asm

// ternaryGEMM unpacks some rows to a byte a weight, which stay in the L2 cache,
// and runs every token past them, as many tokens at a time as have sums in
// registers. Arguments as for TernaryGEMM, checked.
func (isa ISA) ternaryGEMM(acc []int32, packed []byte, q []int8, qsums []int32, n, k, r0, r1, t0, t1 int, scratch []byte) {
	blocks, pb := ceilDiv(k, BlockCols), panelBytes(k)
	kp := blocks * BlockCols
	rows := unpackedRows(k)
	unpacked := scratch[:rows*kp]
	padded := scratch[rows*kp:][:tileTokens*kp]
	for ; r0 < r1; r0 += rows {
		end := min(r0+rows, r1)
		panels := ceilDiv(end-r0, PanelRows)
		isa.unpack(&unpacked[0], &packed[r0/PanelRows*pb], panels*blocks)
		isa.unpackedGEMM(acc, unpacked, padded, q, qsums, n, k, r0, end, t0, t1)
	}
}

// unpackedGEMM multiplies the unpacked rows [r0, r1) with the tokens [t0, t1).
// padded has room for the tokens of a tile, made of whole blocks.
func (isa ISA) unpackedGEMM(acc []int32, unpacked, padded []byte, q []int8, qsums []int32, n, k, r0, r1, t0, t1 int) {
	blocks := ceilDiv(k, BlockCols)
	kp, panels, tokens := blocks*BlockCols, ceilDiv(r1-r0, PanelRows), isa.tileShape()
	var g gemmTile
	g.ldw = PanelRows * kp
	for t := t0; t < t1; t += tokens {
		g.tokens = min(tokens, t1-t)
		for j := range g.tokens {
			g.init[j] = -qsums[t+j]
		}
		g.q, g.ldq = &q[t*k], k
		if kp != k {
			// The tile reads whole blocks. What it reads past k meets zero
			// weights, so only staying inside the slice matters.
			for j := range g.tokens {
				copy(bytesToInt8(padded[j*kp:][:k]), q[(t+j)*k:][:k])
			}
			g.q, g.ldq = &bytesToInt8(padded)[0], kp
		}
		for p := 0; p < panels; {
			r := r0 + p*PanelRows
			g.w, g.panels = &unpacked[p*PanelRows*kp], 1
			if isa == AVX512 && p+1 < panels {
				g.panels = 2
			}
			width := g.panels * PanelRows
			if r+width <= n {
				g.c, g.ldc = &acc[t*n+r], n
				g.run(isa, blocks)
			} else {
				g.c, g.ldc = &g.out[0], 2*PanelRows
				g.run(isa, blocks)
				for j := range g.tokens {
					copy(acc[(t+j)*n+r:(t+j)*n+n], g.out[j*2*PanelRows:])
				}
			}
			p += g.panels
		}
	}
}

func (isa ISA) unpack(dst, src *byte, blocks int) {
	if isa == AVX512 {
		unpackTernaryAVX512(dst, src, blocks)
		return
	}
	unpackTernaryAVX2(dst, src, blocks)
}

// tileShape is the number of tokens in a full tile.
func (isa ISA) tileShape() int {
	if isa == AVX512 {
		return 12
	}
	return 6
}

// gemmTile holds the arguments of one tile.
type gemmTile struct {
	c              *int32
	w              *byte
	q              *int8
	ldc, ldq, ldw  int // in elements; ldw is the distance of panels
	tokens, panels int
	init           [tileTokens]int32
	out            [tileTokens * 2 * PanelRows]int32 // for a tile that sticks out of acc
}

func (g *gemmTile) run(isa ISA, blocks int) {
	switch isa {
	case AVX512:
		g.runAVX512(blocks)
	case AVXVNNI:
		g.runVNNI(blocks)
	default:
		g.runAVX2(blocks)
	}
}

// Direct calls below, because through a table of functions a tile would escape.

func (g *gemmTile) runAVX2(blocks int) {
	c, ldc, w, q, ldq, init := g.c, 4*g.ldc, g.w, g.q, g.ldq, &g.init[0]
	switch g.tokens {
	case 1:
		tileTernaryAVX2x1(c, ldc, w, q, ldq, blocks, init)
	case 2:
		tileTernaryAVX2x2(c, ldc, w, q, ldq, blocks, init)
	case 3:
		tileTernaryAVX2x3(c, ldc, w, q, ldq, blocks, init)
	case 4:
		tileTernaryAVX2x4(c, ldc, w, q, ldq, blocks, init)
	case 5:
		tileTernaryAVX2x5(c, ldc, w, q, ldq, blocks, init)
	case 6:
		tileTernaryAVX2x6(c, ldc, w, q, ldq, blocks, init)
	}
}

func (g *gemmTile) runVNNI(blocks int) {
	c, ldc, w, q, ldq, init := g.c, 4*g.ldc, g.w, g.q, g.ldq, &g.init[0]
	switch g.tokens {
	case 1:
		tileTernaryVNNIx1(c, ldc, w, q, ldq, blocks, init)
	case 2:
		tileTernaryVNNIx2(c, ldc, w, q, ldq, blocks, init)
	case 3:
		tileTernaryVNNIx3(c, ldc, w, q, ldq, blocks, init)
	case 4:
		tileTernaryVNNIx4(c, ldc, w, q, ldq, blocks, init)
	case 5:
		tileTernaryVNNIx5(c, ldc, w, q, ldq, blocks, init)
	case 6:
		tileTernaryVNNIx6(c, ldc, w, q, ldq, blocks, init)
	}
}

func (g *gemmTile) runAVX512(blocks int) {
	c, ldc, w, ldw, q, ldq, init := g.c, 4*g.ldc, g.w, g.ldw, g.q, g.ldq, &g.init[0]
	switch (g.panels-1)*tileTokens + g.tokens {
	case 1:
		tileTernaryAVX512p1x1(c, ldc, w, ldw, q, ldq, blocks, init)
	case 2:
		tileTernaryAVX512p1x2(c, ldc, w, ldw, q, ldq, blocks, init)
	case 3:
		tileTernaryAVX512p1x3(c, ldc, w, ldw, q, ldq, blocks, init)
	case 4:
		tileTernaryAVX512p1x4(c, ldc, w, ldw, q, ldq, blocks, init)
	case 5:
		tileTernaryAVX512p1x5(c, ldc, w, ldw, q, ldq, blocks, init)
	case 6:
		tileTernaryAVX512p1x6(c, ldc, w, ldw, q, ldq, blocks, init)
	case 7:
		tileTernaryAVX512p1x7(c, ldc, w, ldw, q, ldq, blocks, init)
	case 8:
		tileTernaryAVX512p1x8(c, ldc, w, ldw, q, ldq, blocks, init)
	case 9:
		tileTernaryAVX512p1x9(c, ldc, w, ldw, q, ldq, blocks, init)
	case 10:
		tileTernaryAVX512p1x10(c, ldc, w, ldw, q, ldq, blocks, init)
	case 11:
		tileTernaryAVX512p1x11(c, ldc, w, ldw, q, ldq, blocks, init)
	case 12:
		tileTernaryAVX512p1x12(c, ldc, w, ldw, q, ldq, blocks, init)
	case 13:
		tileTernaryAVX512p2x1(c, ldc, w, ldw, q, ldq, blocks, init)
	case 14:
		tileTernaryAVX512p2x2(c, ldc, w, ldw, q, ldq, blocks, init)
	case 15:
		tileTernaryAVX512p2x3(c, ldc, w, ldw, q, ldq, blocks, init)
	case 16:
		tileTernaryAVX512p2x4(c, ldc, w, ldw, q, ldq, blocks, init)
	case 17:
		tileTernaryAVX512p2x5(c, ldc, w, ldw, q, ldq, blocks, init)
	case 18:
		tileTernaryAVX512p2x6(c, ldc, w, ldw, q, ldq, blocks, init)
	case 19:
		tileTernaryAVX512p2x7(c, ldc, w, ldw, q, ldq, blocks, init)
	case 20:
		tileTernaryAVX512p2x8(c, ldc, w, ldw, q, ldq, blocks, init)
	case 21:
		tileTernaryAVX512p2x9(c, ldc, w, ldw, q, ldq, blocks, init)
	case 22:
		tileTernaryAVX512p2x10(c, ldc, w, ldw, q, ldq, blocks, init)
	case 23:
		tileTernaryAVX512p2x11(c, ldc, w, ldw, q, ldq, blocks, init)
	case 24:
		tileTernaryAVX512p2x12(c, ldc, w, ldw, q, ldq, blocks, init)
	}
}
