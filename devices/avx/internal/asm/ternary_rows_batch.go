package asm

import "math"

// rowsTokens is the most tokens that share a walk over rows of which each wants some.
const rowsTokens = 4

// RowBatch is memory for TernaryRowsBatch: the rows that a set of tokens wants, for
// each of the sets.
type RowBatch struct {
	list RowList
	acc  []int32
	most int      // rows
	rows []uint32 // by set: rowSetLen(most)
}

// rowSetLen is the number of elements of the list of a set: rows are added by sixteens,
// and two more may be asked for.
func rowSetLen(n int) int { return n + 16 }

// RowBatchLen is the number of elements of both arrays of a RowBatch for up to n rows.
func RowBatchLen(n int) (lists, sums int) {
	return max(RowListLen(n), rowSetLen(n)<<rowsTokens), (n + 1) / 2 * 2 * rowsTokens
}

// NewRowBatch makes one in memory of the caller's, RowBatchLen(n) elements.
func NewRowBatch(lists []uint32, sums []int32, n int) RowBatch {
	return RowBatch{list: NewRowList(lists), acc: sums, most: n, rows: lists}
}

// RowProduct is what TernaryRowsBatch computes: for a token, up = factor·(q·w) for rows
// whose gate is not zero or less, and zero for the others.
type RowProduct struct {
	Up, Gate []float32 // a row each
	Q        []int8    // k elements, and any more up to whole lines of RowCols
	Sum      int32     // of the first k
	Factor   float32
}

// TernaryRowsBatch computes products of tokens with rows of a matrix of k columns packed
// by rows, from row first on. It returns how many rows it read, those that each four
// tokens share once. The integers are exact for every int8 q and k ≤ 2^20. If what
// zero is multiplied by might not be a number, none is left out.
func (isa ISA) TernaryRowsBatch(ps []RowProduct, packed []byte, b *RowBatch, first, k int) int {
	if isa == AVX512 && k > 0 && len(ps) > 1 {
		read := 0
		for len(ps) > 0 {
			n := min(len(ps), rowsTokens)
			read += rowsBatchAVX512(ps[:n], packed, b, first, k)
			ps = ps[n:]
		}
		return read
	}
	read := 0
	for i := range ps {
		p := &ps[i]
		if p.every(k) {
			b.list.SetAll(len(p.Gate), first, k)
		} else {
			b.list.SetUnless(p.Gate, first, k)
		}
		isa.TernaryRowsGEMV(b.acc, packed, &b.list, p.Q, p.Sum, k)
		read += b.list.Len()
		up := p.Up[:len(p.Gate)]
		clear(up)
		for j, v := range b.acc[:b.list.Len()] {
			up[b.list.Row(j)-first] = float32(v) * p.Factor
		}
	}
	return read
}

// every reports whether a product might be no number, so that zero times it is none.
func (p *RowProduct) every(k int) bool {
	return !(math.Abs(float64(p.Factor)*128*float64(k)) < math.MaxFloat32)
}

// rowsBatchAVX512 is TernaryRowsBatch for one to four tokens. Pairs of rows that the same
// tokens want share unpacked weights and loads of activations.
func rowsBatchAVX512(ps []RowProduct, packed []byte, b *RowBatch, first, k int) int {
	n, lines, size := len(ps[0].Gate), ceilDiv(k, RowCols), RowBytes(k)
	var gate [rowsTokens][]float32
	var q [rowsTokens]*int8
	always := 0
	for t := range gate { // missing tokens want nothing that the first does not
		p := &ps[min(t, len(ps)-1)]
		gate[t], q[t] = p.Gate[:n], &p.Q[:lines*RowCols][0]
		if t < len(ps) && p.every(k) {
			always |= 1 << t
		}
	}
	mask, stride := 1<<len(ps)-1, rowSetLen(b.most)
	rows := b.rows[:stride<<rowsTokens]
	var count [1 << rowsTokens]int
	sixteens := n / 16
	if sixteens > 0 {
		rowSetsAVX512(&rows[0], 4*stride, &count[0], &gate[0][0], &gate[1][0], &gate[2][0], &gate[3][0], sixteens, uint32(mask), uint32(always))
	}
	for i := 16 * sixteens; i < n; i++ {
		set := always
		for t := range ps {
			set |= wanted(gate[t][i]) << t
		}
		rows[set*stride+count[set]] = uint32(i)
		count[set]++
	}
	for t := range ps {
		clear(ps[t].Up[:n])
	}
	read := 0
	w := packed[first*size:][:ceilDiv(n, PanelRows)*PanelRows*size]
	for set := 1; set <= mask; set++ {
		rows := rows[set*stride:][:stride]
		m := count[set]
		if m == 0 {
			continue
		}
		read += m
		for i := range 3 { // the last one may be a pair with itself
			rows[m+i] = rows[m-1]
		}
		m = (m + 1) / 2
		acc := b.acc[:2*rowsTokens*m]
		var x [rowsTokens]*int8
		var y [rowsTokens]*float32
		var sums [2 * rowsTokens]int32
		var factors [2 * rowsTokens]float32
		wants := 0
		for t := range ps {
			if p := &ps[t]; set>>t&1 != 0 {
				x[wants], y[wants] = q[t], &p.Up[0]
				sums[2*wants], sums[2*wants+1] = p.Sum, p.Sum
				factors[2*wants], factors[2*wants+1] = p.Factor, p.Factor
				wants++
			}
		}
		switch wants {
		case 1:
			pairsAVX512x1(&acc[0], &w[0], &rows[0], m, x[0], x[1], x[2], x[3], lines)
			spreadAVX512x1(&acc[0], &rows[0], m, y[0], y[1], y[2], y[3], &sums[0], &factors[0])
		case 2:
			pairsAVX512x2(&acc[0], &w[0], &rows[0], m, x[0], x[1], x[2], x[3], lines)
			spreadAVX512x2(&acc[0], &rows[0], m, y[0], y[1], y[2], y[3], &sums[0], &factors[0])
		case 3:
			pairsAVX512x3(&acc[0], &w[0], &rows[0], m, x[0], x[1], x[2], x[3], lines)
			spreadAVX512x3(&acc[0], &rows[0], m, y[0], y[1], y[2], y[3], &sums[0], &factors[0])
		case 4:
			pairsAVX512x4(&acc[0], &w[0], &rows[0], m, x[0], x[1], x[2], x[3], lines)
			spreadAVX512x4(&acc[0], &rows[0], m, y[0], y[1], y[2], y[3], &sums[0], &factors[0])
		}
	}
	return read
}

// wanted is 1 for numbers above zero, and 0 for those below it and for zero. What it
// says of others only costs time: squares of what is no number are none.
func wanted(gate float32) int {
	if int32(math.Float32bits(gate)) > 0 {
		return 1
	}
	return 0
}
