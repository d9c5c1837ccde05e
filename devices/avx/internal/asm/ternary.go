package asm

import "encoding/binary"

// SumI8 returns the sum of q, the correction that the unsigned codes need:
// Σ q·code = Σ q·u − Σ q. QuantizeI8 and RMSNormQuant return it with their codes.
func SumI8(q []int8) int32 {
	// Eight codes to a word, made unsigned and added in four 16-bit lanes; after
	// 128 words a lane holds at most 2·128·255.
	const lane, word = 0x00ff00ff00ff00ff, 8
	b := int8ToBytes(q)
	var total int
	n := len(b) / word * word
	for i := 0; i < n; {
		var s uint64
		for end := min(n, i+128*word); i < end; i += word {
			u := binary.LittleEndian.Uint64(b[i:]) ^ 0x8080808080808080
			s += u&lane + u>>8&lane
		}
		total += int(s&0xffff + s>>16&0xffff + s>>32&0xffff + s>>48)
	}
	total -= 128 * n
	for _, v := range q[n:] {
		total += int(v)
	}
	return int32(total)
}

// TernaryGEMV computes acc[r] = Σ_i q[i]·w[r,i] for the rows r in [r0, r1) of a
// packed [n,k] ternary matrix, exactly for every int8 q and k < 2^24.
//
// acc has n entries, q at least k, and qsum is SumI8(q[:k]). r0 is a multiple of
// PanelRows, r1 a multiple or n. Every byte of those rows is read once, with
// prefetch; disjoint ranges may run at the same time.
func (isa ISA) TernaryGEMV(acc []int32, packed []byte, q []int8, qsum int32, n, k, r0, r1 int) {
	checkRows(n, r0, r1)
	acc, q, packed = acc[:n], q[:k], packed[:PackedBytes(n, k)]
	if r0 == r1 {
		return
	}
	if isa == Generic || k == 0 {
		ternaryGEMV(acc, packed, q, qsum, k, r0, r1)
		return
	}
	blocks, pb := k/BlockCols, panelBytes(k)
	var tail [BlockCols]int8
	var tailPtr *int8
	if copy(tail[:], q[blocks*BlockCols:]) > 0 {
		tailPtr = &tail[0]
	}
	q0 := &tail[0] // never read when there is no whole block
	if blocks > 0 {
		q0 = &q[0]
	}
	if whole := r1 / PanelRows * PanelRows; whole > r0 {
		isa.gemvPanels(&acc[r0], &packed[r0/PanelRows*pb], q0, tailPtr, blocks, (whole-r0)/PanelRows, -qsum)
		r0 = whole
	}
	if r0 < r1 {
		var last [PanelRows]int32
		isa.gemvPanels(&last[0], &packed[r0/PanelRows*pb], q0, tailPtr, blocks, 1, -qsum)
		copy(acc[r0:r1], last[:])
	}
}

func (isa ISA) gemvPanels(acc *int32, w *byte, q, qtail *int8, blocks, panels int, init int32) {
	switch isa {
	case AVX512:
		gemvTernaryAVX512(acc, w, q, qtail, blocks, panels, init)
	case AVXVNNI:
		gemvTernaryVNNI(acc, w, q, qtail, blocks, panels, init)
	default:
		gemvTernaryAVX2(acc, w, q, qtail, blocks, panels, init)
	}
}

// ternaryGEMV is the oracle.
func ternaryGEMV(acc []int32, packed []byte, q []int8, qsum int32, k, r0, r1 int) {
	pb := panelBytes(k)
	for r := r0; r < r1; r++ {
		panel := packed[r/PanelRows*pb:][:pb]
		sum := -qsum
		for i, v := range q {
			b := i/BlockCols*blockBytes + 4*(r%PanelRows) + i%4
			u := panel[b] >> (2 * (i % BlockCols / 4)) & 3
			sum += int32(v) * int32(u)
		}
		acc[r] = sum
	}
}

// TernaryGEMM computes acc[t,r] = Σ_i q[t,i]·w[r,i] for rows r in [r0, r1) of a
// packed [n,k] ternary matrix and tokens t in [t0, t1) of m. The integers equal
// those of TernaryGEMV.
//
// acc is [m,n], q is [m,k], qsums has m entries, qsums[t] = SumI8(q[t,:]), and
// scratch has TernaryScratch(k) bytes and belongs to this call. r0 is a multiple
// of PanelRows, r1 a multiple or n; t0 and t1 are free. Disjoint rectangles may
// run at the same time. A good task is 64 or 128 rows by all tokens, or by
// blocks of 96 or more when there are few rows.
func (isa ISA) TernaryGEMM(acc []int32, packed []byte, q []int8, qsums []int32, m, n, k, r0, r1, t0, t1 int, scratch []byte) {
	isa.TernaryGEMMAhead(acc, packed, q, qsums, m, n, k, r0, r1, t0, t1, scratch, nil)
}

// TernaryGEMMAhead is TernaryGEMM that may ask for what is multiplied after it, from the
// beginning of next on.
func (isa ISA) TernaryGEMMAhead(acc []int32, packed []byte, q []int8, qsums []int32, m, n, k, r0, r1, t0, t1 int, scratch, next []byte) {
	checkRows(n, r0, r1)
	if t0 < 0 || t1 > m || t0 > t1 {
		panic("asm: token range out of bounds")
	}
	acc, q, qsums = acc[:m*n], q[:m*k], qsums[:m]
	if isa == AVX512 && k > 0 && k%BlockCols == 0 && t1-t0 > 1 && t1-t0 <= isa.GEMVTokens() {
		if r0 < r1 {
			isa.panelsGEMM(acc, packed[:PackedBytes(n, k)], q, qsums, n, k, r0, r1, t0, t1, next)
		}
		return
	}
	if t1-t0 <= isa.GEMVTokens() || k == 0 {
		// Few tokens do not repay unpacking. Blocks of rows that fit the cache
		// keep the matrix from being read once per token.
		step := max(PanelRows, (128<<10)/max(panelBytes(k), 1)*PanelRows)
		for r := r0; r < r1; r += step {
			for t := t0; t < t1; t++ {
				isa.TernaryGEMV(acc[t*n:][:n], packed, q[t*k:][:k], qsums[t], n, k, r, min(r+step, r1))
			}
		}
		return
	}
	isa.ternaryGEMM(acc, packed[:PackedBytes(n, k)], q, qsums, n, k, r0, r1, t0, t1, scratch[:TernaryScratch(k)])
}

// GEMVTokens is the largest number of tokens for which repeating the vector
// kernel beats unpacking; Generic always repeats.
func (isa ISA) GEMVTokens() int {
	switch isa {
	case Generic:
		return 1 << 30
	case AVX2:
		return 3
	case AVX512:
		return 16
	}
	return 4
}

const (
	gemmRows     = 64        // rows unpacked at a time
	gemmMaxBytes = 256 << 10 // of unpacked panel, to leave half of a 512 KiB L2 to the activations
	tileTokens   = 12        // most tokens in one tile of any ISA
)

// unpackedRows is how many rows TernaryGEMM unpacks at a time: fewer when rows
// are so long that 64 of them would leave the L2 cache.
func unpackedRows(k int) int {
	rows := gemmMaxBytes / (ceilDiv(k, BlockCols) * BlockCols) / (2 * PanelRows) * (2 * PanelRows)
	return min(max(rows, 2*PanelRows), gemmRows)
}

// TernaryScratch is the number of scratch bytes that TernaryGEMM needs for k
// columns: unpacked rows, and room for padded activations and a partial panel.
func TernaryScratch(k int) int {
	kp := ceilDiv(k, BlockCols) * BlockCols
	return unpackedRows(k)*kp + tileTokens*kp + 64
}
