package asm

import "unsafe"

// Ternary weights that change from step to step are not worth packing into two
// bits: they go at once into the form that the matrix kernel unpacks to, a byte
// u = code+1 a weight. A panel of 16 rows is a list of 64-byte vectors; vector v
// holds columns 4v to 4v+3 of row r in its bytes 4r to 4r+3. Bytes that only pad
// are zero, as in the packed layout.

// TernaryPanelsBytes is the size of the panels of n rows and k columns.
func TernaryPanelsBytes(n, k int) int {
	return ceilDiv(n, PanelRows) * PanelRows * ceilDiv(k, BlockCols) * BlockCols
}

// TernaryPanels writes the panels of rows [r0, r1) of an [n,k] matrix of codes
// to their place in dst. r0 is a multiple of PanelRows, r1 a multiple or n;
// disjoint ranges may be written at the same time.
func (isa ISA) TernaryPanels(dst []byte, codes []int8, n, k, r0, r1 int) {
	checkRows(n, r0, r1)
	kp := ceilDiv(k, BlockCols) * BlockCols
	codes = codes[:n*k]
	for r := r0; r < r1; r += PanelRows {
		panel := dst[r*kp:][:PanelRows*kp]
		rows, whole := min(PanelRows, r1-r), 0
		if isa != Generic && rows == PanelRows && k >= 16 {
			// Four codes are a 32-bit word, and words are transposed as floats.
			whole = k / 16 * 16
			src := (*float32)(unsafe.Pointer(&codes[r*k]))
			packTranspose16AVX2((*float32)(unsafe.Pointer(&panel[0])), src, k, whole/16)
			shiftCodesAVX2(&panel[0], whole*PanelRows/32)
		}
		tail := panel[whole*PanelRows:]
		clear(tail)
		for i := range rows {
			for j, c := range codes[(r+i)*k+whole : (r+i)*k+k] {
				tail[j/4*64+4*i+j%4] = byte(c + 1)
			}
		}
	}
}

// TernaryMulPanels is TernaryGEMM for the panels of TernaryPanels. scratch has
// TernaryScratch(k) bytes.
func (isa ISA) TernaryMulPanels(acc []int32, panels []byte, q []int8, qsums []int32, m, n, k, r0, r1, t0, t1 int, scratch []byte) {
	checkRows(n, r0, r1)
	if t0 < 0 || t1 > m || t0 > t1 {
		panic("asm: token range out of bounds")
	}
	acc, q, qsums, panels = acc[:m*n], q[:m*k], qsums[:m], panels[:TernaryPanelsBytes(n, k)]
	if t0 == t1 || r0 == r1 {
		return
	}
	kp := ceilDiv(k, BlockCols) * BlockCols
	if isa != Generic && k > 0 {
		isa.unpackedGEMM(acc, panels[r0*kp:], scratch[:tileTokens*kp], q, qsums, n, k, r0, r1, t0, t1)
		return
	}
	for t := t0; t < t1; t++ { // the oracle
		for r := r0; r < r1; r++ {
			panel := panels[r/PanelRows*PanelRows*kp:]
			sum := -qsums[t]
			for i, v := range q[t*k : (t+1)*k] {
				sum += int32(v) * int32(panel[i/4*64+4*(r%PanelRows)+i%4])
			}
			acc[t*n+r] = sum
		}
	}
}

// UnpackPanels writes the panels of a packed matrix of n rows and k columns.
func (isa ISA) UnpackPanels(dst, packed []byte, n, k int) {
	blocks := ceilDiv(n, PanelRows) * ceilDiv(k, BlockCols)
	dst, packed = dst[:blocks*4*blockBytes], packed[:blocks*blockBytes]
	switch {
	case blocks == 0:
	case isa != Generic:
		isa.unpack(&dst[0], &packed[0], blocks)
	default:
		for i, v := range packed {
			for j := range 4 {
				dst[i/blockBytes*4*blockBytes+j*blockBytes+i%blockBytes] = v >> (2 * j) & 3
			}
		}
	}
}
