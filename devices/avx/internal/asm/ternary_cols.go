package asm

import "encoding/binary"

// The ternary layout "i2c256", two bits a weight, for products with vectors that
// are zero in many places: only columns that meet something else are read.
//
// A column is a stretch of memory; columns follow each other, and their number is
// padded to a multiple of BlockCols. Within a column, lines of 64 bytes hold 256
// rows each. A code is stored as u = code+1 in {0,1,2}; byte 16l+4z+d of a line,
// for l, z and d in 0..3, holds in its bits 2j and 2j+1 row 64z + 16j + 4l + d.
//
// Interleaving the bytes of four columns, which two levels of VPUNPCK do within
// 128-bit lanes, therefore leaves in vector z, shifted right by 2j, four columns of
// 16 consecutive rows in 32-bit lanes: what VPDPBUSD multiplies with the four
// codes of those columns, and a step of the panels that the matrix kernel takes.
//
// Rows and columns that only pad hold u = 0.
const (
	// ColRows is the number of rows in a line. Ranges of rows of the vector kernel
	// begin at a multiple of it, and end at one or at the last row.
	ColRows   = 256
	lineBytes = ColRows / 4
	// unpackRows is how many rows of a line the matrix kernel unpacks at a time:
	// the four fields of a vector.
	unpackRows = 64
	// colsAhead is how many columns the vector kernel asks for before it uses
	// them. A list of columns is followed by as many that may be read.
	colsAhead = 64
)

// ColBytes is the size of a packed column of n rows.
func ColBytes(n int) int { return ceilDiv(n, ColRows) * lineBytes }

// PackedColsBytes is the size of a ternary matrix of n rows and k columns, packed
// by columns.
func PackedColsBytes(n, k int) int { return ceilDiv(k, BlockCols) * BlockCols * ColBytes(n) }

// inLine is where row r of a line lies: the byte, and the shift within it.
func inLine(r int) (at, shift int) {
	z, j, l, d := r/64, r/16%4, r/4%4, r%4
	return 16*l + 4*z + d, 2 * j
}

// PackTernaryCols packs rows [r0, r1) of codes in {-1,0,+1} of an [n,k] matrix.
// codes holds only those rows, row-major, dst is the whole packed matrix. r0 is a
// multiple of ColRows, r1 a multiple or n; disjoint ranges may be packed at the
// same time.
func PackTernaryCols(dst []byte, codes []int8, n, k, r0, r1 int) {
	checkRange(n, r0, r1, ColRows)
	codes, dst = codes[:(r1-r0)*k], dst[:PackedColsBytes(n, k)]
	stride, padded := ColBytes(n), ceilDiv(k, BlockCols)*BlockCols
	b := int8ToBytes(codes)
	for ; r0 < r1; r0 += ColRows {
		rows := min(ColRows, r1-r0)
		line := dst[r0/ColRows*lineBytes:]
		for c := 0; c < padded; c += 8 {
			for i := range 8 {
				clear(line[(c+i)*stride:][:lineBytes])
			}
			for r := range rows {
				var w uint64 // of row r, eight columns
				if at := r*k + c; c+8 <= k {
					w = unsigned(binary.LittleEndian.Uint64(b[at:]))
				} else {
					for i := range max(0, k-c) {
						w |= uint64(b[at+i]+1) << (8 * i)
					}
				}
				at, shift := inLine(r)
				w = w & (3 * eachByte) << shift
				for i := range 8 {
					line[(c+i)*stride+at] |= byte(w >> (8 * i))
				}
			}
		}
		b = b[rows*k:]
	}
}

// UnpackTernaryCols is the inverse of packing all rows: it writes [n,k] codes.
func UnpackTernaryCols(codes []int8, packed []byte, n, k int) {
	stride := ColBytes(n)
	for r := range n {
		at, shift := inLine(r % ColRows)
		at += r / ColRows * lineBytes
		for i := range k {
			codes[r*k+i] = int8(packed[i*stride+at]>>shift&3) - 1
		}
	}
}

// Columns lists the columns of a packed matrix that meet a code other than zero.
type Columns struct {
	offs  []uint32 // bytes from the start of the matrix, and colsAhead more
	codes []int8
	n     int // of codes, a multiple of four: zeros fill the last ones
}

// ColumnsLen is the number of elements of both arrays of a Columns of k codes.
func ColumnsLen(k int) int { return ceilDiv(k, 16)*16 + colsAhead + 16 }

// NewColumns makes an empty list in memory of the caller's, ColumnsLen(k)
// elements each, for up to k codes.
func NewColumns(offs []uint32, codes []int8) Columns { return Columns{offs: offs, codes: codes} }

// Len is the number of columns in the list; up to three of them fill it.
func (c *Columns) Len() int { return c.n }

// Set lists those of the codes q that are not zero. q[0] meets column first of a
// matrix of n rows, whose size is below 2^32 bytes.
func (c *Columns) Set(isa ISA, q []int8, first, n int) {
	stride := ColBytes(n)
	at, whole, count := first*stride, 0, 0
	if isa != Generic {
		if whole = len(q) / 16 * 16; whole > 0 {
			_, _ = c.offs[whole+15], c.codes[whole+15]
			if isa == AVX512 {
				count = nonzeroAVX512(&c.offs[0], &c.codes[0], &q[0], whole/16, uint32(at), uint32(stride))
			} else {
				count = nonzeroAVX2(&c.offs[0], &c.codes[0], &q[0], whole/8, uint32(at), uint32(stride))
			}
		}
	}
	for i := whole; i < len(q); i++ { // without a branch, which nobody could guess
		v, in := q[i], 1
		c.offs[count], c.codes[count] = uint32(at+i*stride), v
		if v == 0 {
			in = 0
		}
		count += in
	}
	c.n = (count + 3) &^ 3
	end := uint32(at)
	if count > 0 {
		end = c.offs[count-1]
	}
	clear(c.codes[count:c.n])
	for i := range c.offs[count : c.n+colsAhead] {
		c.offs[count+i] = end
	}
}

// TernaryColsGEMV computes acc[r-r0] = Σ_i q[i]·w[r,i] for the rows r in [r0, r1)
// of a [n,k] ternary matrix packed by columns, exactly for every int8 q and
// k ≤ 2^20, where cols lists what of q is not zero and qsum is the sum of that.
// acc has r1-r0 entries rounded up to a multiple of ColRows. r0 is a multiple of
// it, r1 one too or n; disjoint ranges may run at the same time.
func (isa ISA) TernaryColsGEMV(acc []int32, packed []byte, cols *Columns, qsum int32, n, r0, r1 int) {
	checkRange(n, r0, r1, ColRows)
	lines := ceilDiv(r1-r0, ColRows)
	acc = acc[:lines*ColRows]
	if cols.n == 0 || lines == 0 {
		clear(acc)
		return
	}
	w := packed[r0/ColRows*lineBytes:]
	_ = w[int(cols.offs[cols.n-1])+lines*lineBytes-1] // they ascend
	switch isa {
	case Generic:
		ternaryColsGEMV(acc, w, cols, qsum)
	case AVX512:
		clear(acc)
		gemvColsAVX512(&acc[0], &w[0], lines, &cols.offs[0], &cols.codes[0], cols.n/4, -qsum)
	default:
		clear(acc)
		_ = cols.codes[cols.n+colsAhead-1]
		gemvColsAVX2(&acc[0], &w[0], lines, &cols.offs[0], &cols.codes[0], cols.n/4, -qsum)
	}
}

// ternaryColsGEMV is the oracle.
func ternaryColsGEMV(acc []int32, w []byte, cols *Columns, qsum int32) {
	for r := range acc {
		at, shift := inLine(r % ColRows)
		at += r / ColRows * lineBytes
		sum := -qsum
		for i, off := range cols.offs[:cols.n] {
			sum += int32(cols.codes[i]) * int32(w[int(off)+at]>>shift&3)
		}
		acc[r] = sum
	}
}

// TernaryColsScratch is the number of scratch bytes that TernaryColsGEMM needs.
func TernaryColsScratch(k int) int {
	kp := ceilDiv(k, BlockCols) * BlockCols
	return unpackRows*kp + tileTokens*kp + 64
}

// TernaryColsGEMM is TernaryGEMM on a matrix packed by columns: for the rows r in
// [r0, r1) and m tokens, acc[t,r-r0] = Σ_i q[t,i]·w[r,i]. acc is [m,r1-r0], q is
// [m,k], and qsums[t] = SumI8(q[t,:]). scratch has TernaryColsScratch(k) bytes and
// belongs to this call. r0 is a multiple of 64, r1 a multiple or n.
func (isa ISA) TernaryColsGEMM(acc []int32, packed []byte, q []int8, qsums []int32, m, n, k, r0, r1 int, scratch []byte) {
	checkRange(n, r0, r1, unpackRows)
	width := r1 - r0
	acc, q, qsums, packed = acc[:m*width], q[:m*k], qsums[:m], packed[:PackedColsBytes(n, k)]
	if m == 0 || width == 0 {
		return
	}
	if isa == Generic || k == 0 {
		ternaryColsGEMM(acc, packed, q, n, k, r0, r1)
		return
	}
	kp := ceilDiv(k, BlockCols) * BlockCols
	scratch = scratch[:TernaryColsScratch(k)]
	unpacked, padded := scratch[:unpackRows*kp], scratch[unpackRows*kp:][:tileTokens*kp]
	for r := r0; r < r1; r += unpackRows {
		isa.unpackCols(&unpacked[0], PanelRows*kp, &packed[r/ColRows*lineBytes], ColBytes(n), kp/4, r/unpackRows%4)
		isa.unpackedGEMM(acc, unpacked, padded, q, qsums, width, k, r-r0, min(r-r0+unpackRows, width), 0, m)
	}
}

// unpackCols writes the rows of a line that vector z takes.
func (isa ISA) unpackCols(dst *byte, ldd int, src *byte, stride, quads, z int) {
	if isa != AVX512 {
		z += 4
	}
	switch z {
	case 0:
		unpackColsAVX512z0(dst, ldd, src, stride, quads)
	case 1:
		unpackColsAVX512z1(dst, ldd, src, stride, quads)
	case 2:
		unpackColsAVX512z2(dst, ldd, src, stride, quads)
	case 3:
		unpackColsAVX512z3(dst, ldd, src, stride, quads)
	case 4:
		unpackColsAVX2z0(dst, ldd, src, stride, quads)
	case 5:
		unpackColsAVX2z1(dst, ldd, src, stride, quads)
	case 6:
		unpackColsAVX2z2(dst, ldd, src, stride, quads)
	case 7:
		unpackColsAVX2z3(dst, ldd, src, stride, quads)
	}
}

// ternaryColsGEMM is the oracle.
func ternaryColsGEMM(acc []int32, packed []byte, q []int8, n, k, r0, r1 int) {
	stride := ColBytes(n)
	for i := range acc {
		t, r := i/(r1-r0), r0+i%(r1-r0)
		at, shift := inLine(r % ColRows)
		at += r / ColRows * lineBytes
		sum := int32(0)
		for c, v := range q[t*k:][:k] {
			sum += int32(v) * (int32(packed[c*stride+at]>>shift&3) - 1)
		}
		acc[i] = sum
	}
}
