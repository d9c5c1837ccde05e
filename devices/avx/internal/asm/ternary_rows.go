package asm

import (
	"math"
	"math/bits"
)

// The ternary layout "i2r256", two bits a weight, for products of which only some
// rows are wanted: only those are read.
//
// A row is a stretch of memory; rows follow each other, and their number is padded
// to a multiple of PanelRows. Within a row, lines of 64 bytes hold 256 columns each.
// A code is stored as u = code+1 in {0,1,2}; bits 2j and 2j+1 of byte b of a line
// are column 64j + b.
//
// Rows and columns that only pad hold u = 0.
const (
	// RowCols is the number of columns in a line.
	RowCols = 256
	// rowsAhead is how many rows the vector kernel asks for before it uses them.
	rowsAhead = 64
	rowsGroup = 4 // rows that the vector kernel takes together
)

// RowBytes is the size of a packed row of k columns.
func RowBytes(k int) int { return ceilDiv(k, RowCols) * lineBytes }

// PackedRowsBytes is the size of a ternary matrix of n rows and k columns, packed by
// rows.
func PackedRowsBytes(n, k int) int { return ceilDiv(n, PanelRows) * PanelRows * RowBytes(k) }

// PackTernaryByRow packs rows [r0, r1) of codes in {-1,0,+1} of an [n,k] matrix.
// codes holds only those rows, row-major, dst is the whole packed matrix. r0 is a
// multiple of PanelRows, r1 a multiple or n; disjoint ranges may be packed at the
// same time.
func PackTernaryByRow(dst []byte, codes []int8, n, k, r0, r1 int) {
	checkRows(n, r0, r1)
	codes, dst = codes[:(r1-r0)*k], dst[:PackedRowsBytes(n, k)]
	size := RowBytes(k)
	for r := r0; r < r1; r++ {
		row, line := codes[(r-r0)*k:][:k], dst[r*size:][:size]
		for ; len(row) >= RowCols; row, line = row[RowCols:], line[lineBytes:] {
			c, l := (*[RowCols]int8)(row), (*[lineBytes]byte)(line)
			for b := range l {
				l[b] = byte(c[b]+1)&3 | byte(c[64+b]+1)&3<<2 | byte(c[128+b]+1)&3<<4 | byte(c[192+b]+1)<<6
			}
		}
		clear(line)
		for i, c := range row {
			line[i%lineBytes] |= byte(c+1) & 3 << (i / lineBytes * 2)
		}
	}
	if r1 == n {
		clear(dst[n*size:])
	}
}

// UnpackTernaryByRow is the inverse of packing all rows: it writes [n,k] codes.
func UnpackTernaryByRow(codes []int8, packed []byte, n, k int) {
	size := RowBytes(k)
	for r := range n {
		for i := range k {
			codes[r*k+i] = int8(rowCode(packed[r*size:], i)) - 1
		}
	}
}

// rowCode is u of column i of a row.
func rowCode(row []byte, i int) byte {
	return row[i/RowCols*lineBytes+i%lineBytes] >> (i % RowCols / lineBytes * 2) & 3
}

// RowList lists rows of a matrix packed by rows.
type RowList struct {
	offs []uint32 // bytes from the start of the matrix, and rowsAhead more
	n    int      // of rows
	inv  uint64   // 2^64 over the bytes of a row, rounded up
}

// RowListLen is the number of elements of a RowList for up to n rows.
func RowListLen(n int) int { return ceilDiv(n, rowsGroup)*rowsGroup + rowsAhead }

// NewRowList makes an empty list in memory of the caller's, RowListLen(n) elements
// for up to n rows.
func NewRowList(offs []uint32) RowList { return RowList{offs: offs} }

// SetUnless lists those of the rows from first on, a row for each of x, for which x
// is not zero or less: NaN is neither. Rows have k columns; the matrix has less than
// 2^32 bytes.
func (l *RowList) SetUnless(x []float32, first, k int) {
	size := uint32(RowBytes(k))
	offs, at, n := l.offs[:len(x)], uint32(first)*size, 0
	for _, v := range x {
		offs[n] = at
		in := 1
		if v <= 0 {
			in = 0
		}
		n += in
		at += size
	}
	l.fill(n, uint32(first)*size, size)
}

// SetAll lists n rows from first on.
func (l *RowList) SetAll(n, first, k int) {
	size := uint32(RowBytes(k))
	for i := range l.offs[:n] {
		l.offs[i] = uint32(first+i) * size
	}
	l.fill(n, uint32(first)*size, size)
}

// fill ends a list of n rows: what is asked for beyond it is the last one.
func (l *RowList) fill(n int, last, size uint32) {
	l.n = n
	if n > 0 {
		last = l.offs[n-1]
	}
	l.inv = math.MaxUint64/max(uint64(size), 1) + 1
	for i := range l.offs[n:RowListLen(n)] {
		l.offs[n+i] = last
	}
}

// Len is the number of rows in the list.
func (l *RowList) Len() int { return l.n }

// Row is entry i of the list.
func (l *RowList) Row(i int) int {
	// A quotient of numbers of 32 bits (Lemire, Kaser and Kurz, "Faster remainder by
	// direct computation", 2019): a division would take several times as long.
	row, _ := bits.Mul64(l.inv, uint64(l.offs[i]))
	return int(row)
}

// TernaryRowsGEMV computes acc[i] = Σ_j q[j]·w[r,j] for row r = list.Row(i) of a
// matrix of k columns packed by rows, exactly for every int8 q and k ≤ 2^20. acc has
// list.Len() entries rounded up to a multiple of four, q has k entries and any more
// up to whole lines of RowCols, and qsum is the sum of the first k.
func (isa ISA) TernaryRowsGEMV(acc []int32, packed []byte, list *RowList, q []int8, qsum int32, k int) {
	lines := ceilDiv(k, RowCols)
	padded := ceilDiv(list.n, rowsGroup) * rowsGroup
	acc, q = acc[:padded], q[:lines*RowCols]
	if list.n == 0 || lines == 0 {
		clear(acc)
		return
	}
	_ = packed[int(list.offs[list.n-1])+lines*lineBytes-1] // they ascend
	offs := list.offs[:padded+rowsAhead]
	var mem [16*rowsAhead + lineBytes/4 - 1]int32
	sums := wholeLines(mem[:])
	switch isa {
	case Generic:
	case AVX512:
		gemvRowsAVX512(&acc[0], &packed[0], &offs[0], padded/rowsGroup, &q[0], lines, -qsum, &sums[0])
		return
	default:
		gemvRowsAVX2(&acc[0], &packed[0], &offs[0], padded/rowsGroup, &q[0], lines, -qsum, &sums[0])
		return
	}
	for i, off := range offs[:padded] { // the oracle
		sum := -qsum
		for j, v := range q[:k] {
			sum += int32(v) * int32(rowCode(packed[off:], j))
		}
		acc[i] = sum
	}
}

// TernaryRowsScratch is the number of scratch bytes that TernaryRowsGEMM needs.
func TernaryRowsScratch(k int) int { return TernaryScratch(k) + PanelRows*RowCols }

// TernaryRowsGEMM is TernaryGEMM on a matrix packed by rows: for the rows r in
// [r0, r1) and m tokens, acc[t,r-r0] = Σ_i q[t,i]·w[r,i]. acc is [m,r1-r0], q is
// [m,k], and qsums[t] = SumI8(q[t,:]). scratch has TernaryRowsScratch(k) bytes and
// belongs to this call. r0 is a multiple of PanelRows, r1 a multiple or n.
func (isa ISA) TernaryRowsGEMM(acc []int32, packed []byte, q []int8, qsums []int32, m, n, k, r0, r1 int, scratch []byte) {
	checkRows(n, r0, r1)
	width, size := r1-r0, RowBytes(k)
	acc, q, qsums, packed = acc[:m*width], q[:m*k], qsums[:m], packed[:PackedRowsBytes(n, k)]
	if m == 0 || width == 0 {
		return
	}
	if isa == Generic || k == 0 {
		for i := range acc {
			t, row := i/width, packed[(r0+i%width)*size:]
			sum := int32(0)
			for c, v := range q[t*k:][:k] {
				sum += int32(v) * (int32(rowCode(row, c)) - 1)
			}
			acc[i] = sum
		}
		return
	}
	kp, rows, whole := ceilDiv(k, BlockCols)*BlockCols, unpackedRows(k), k/RowCols
	scratch = scratch[:TernaryRowsScratch(k)]
	line, scratch := scratch[:PanelRows*RowCols], scratch[PanelRows*RowCols:]
	unpacked, padded := scratch[:rows*kp], scratch[rows*kp:][:tileTokens*kp]
	for r := r0; r < r1; r += rows {
		end := min(r+rows, r1)
		for p := r; p < end; p += PanelRows {
			panel, src := unpacked[(p-r)*kp:][:PanelRows*kp], packed[p*size:][:PanelRows*size]
			if whole > 0 {
				isa.unpackRows(&panel[0], &src[0], size, whole)
			}
			if tail := panel[PanelRows*RowCols*whole:]; len(tail) > 0 {
				isa.unpackRows(&line[0], &src[whole*lineBytes], size, 1)
				copy(tail, line)
			}
		}
		isa.unpackedGEMM(acc, unpacked, padded, q, qsums, width, k, r-r0, end-r0, 0, m)
	}
}

func (isa ISA) unpackRows(dst, src *byte, stride, lines int) {
	if isa == AVX512 {
		unpackRowsAVX512(dst, src, stride, lines)
		return
	}
	unpackRowsAVX2(dst, src, stride, lines)
}
