package asm

// lineCols is the most columns that one call of the kernel adds up exactly.
const lineCols = 1 << 16

// TernaryColsAdd adds to acc what TernaryColsGEMV computes for the line of rows that
// begins at r0: for products of several tokens with a piece of a matrix that stays in the
// L2 cache. acc has ColRows entries. It asks for one line of 64 bytes for every four
// columns, a column apart, from the beginning of next on.
func (isa ISA) TernaryColsAdd(acc []int32, packed []byte, cols *Columns, qsum int32, n, r0 int, next []byte) {
	r1 := min(r0+ColRows, n)
	checkRange(n, r0, r1, ColRows)
	acc = acc[:ColRows]
	if cols.n == 0 {
		return
	}
	if isa != AVX512 {
		var sums [ColRows]int32
		isa.TernaryColsGEMV(sums[:], packed, cols, qsum, n, r0, r1)
		for i, v := range sums {
			acc[i] += v
		}
		return
	}
	w := packed[r0/ColRows*lineBytes:]
	_ = w[int(cols.offs[cols.n-1])+lineBytes-1] // they ascend
	ahead, stride := &w[0], 0
	if len(next) > 0 {
		ahead, stride = &next[0], ColBytes(n)
	}
	for i := 0; i < cols.n; i += lineCols {
		m := min(lineCols, cols.n-i)
		lineColsAVX512(&acc[0], &w[0], &cols.offs[i], &cols.codes[i], m/4, ahead, stride, -qsum)
		qsum = 0
	}
}
