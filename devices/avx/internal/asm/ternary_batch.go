package asm

// panelTokens is the most tokens that panelsGEMM takes at once.
const panelTokens = 8

// panelsGEMM multiplies packed rows [r0, r1), two panels at a time, with the tokens
// [t0, t1), of which there are two at least. k is a multiple of BlockCols. Arguments
// as for TernaryGEMM, checked. While it multiplies it asks for next, as far as it
// gets: two lines for every 32 rows by 16 columns.
func (isa ISA) panelsGEMM(acc []int32, packed []byte, q []int8, qsums []int32, n, k, r0, r1, t0, t1 int, next []byte) {
	blocks, pb := k/BlockCols, panelBytes(k)
	groups := ceilDiv(t1-t0, panelTokens)
	var p panelsTile
	for r := r0; r < r1; r += 2 * PanelRows {
		p.w, p.ldw = &packed[r/PanelRows*pb], pb
		if r+PanelRows >= n {
			p.ldw = 0
		}
		for g := range groups {
			t, end := t0+(t1-t0)*g/groups, t0+(t1-t0)*(g+1)/groups
			// The first tokens fetch the next panels, the others what follows these.
			switch {
			case g == 0 && r+2*PanelRows < r1:
				p.next = &packed[(r/PanelRows+2)*pb]
			case len(next) > 0:
				p.next, next = &next[0], next[min(len(next), 2*pb):]
			default:
				p.next = p.w
			}
			tokens := end - t
			for j := range tokens {
				p.init[j] = -qsums[t+j]
			}
			p.q, p.ldq = &q[t*k], k
			if r+2*PanelRows <= n {
				p.c, p.ldc = &acc[t*n+r], n
				p.run(tokens, blocks)
				continue
			}
			p.c, p.ldc = &p.out[0], 2*PanelRows
			p.run(tokens, blocks)
			for j := range tokens {
				copy(acc[(t+j)*n+r:(t+j)*n+r1], p.out[j*2*PanelRows:])
			}
		}
	}
}

// panelsTile holds the arguments of two panels by some tokens.
type panelsTile struct {
	c             *int32
	w, next       *byte
	q             *int8
	ldc, ldq, ldw int // in elements; ldw is the distance of the panels
	init          [panelTokens]int32
	out           [panelTokens * 2 * PanelRows]int32 // for a tile that sticks out of acc
}

// run calls the kernel directly: through a table of functions p would escape.
func (p *panelsTile) run(tokens, blocks int) {
	c, ldc, w, ldw, q, ldq, init, next := p.c, 4*p.ldc, p.w, p.ldw, p.q, p.ldq, &p.init[0], p.next
	switch tokens {
	case 2:
		panelsAVX512x2(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 3:
		panelsAVX512x3(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 4:
		panelsAVX512x4(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 5:
		panelsAVX512x5(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 6:
		panelsAVX512x6(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 7:
		panelsAVX512x7(c, ldc, w, ldw, q, ldq, blocks, init, next)
	case 8:
		panelsAVX512x8(c, ldc, w, ldw, q, ldq, blocks, init, next)
	}
}
