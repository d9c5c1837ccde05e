package asm

// The ternary layout "i2x16", two bits a weight.
//
// A panel is 16 consecutive rows; panels follow each other. Within a panel,
// blocks of 16 consecutive columns follow each other, 64 bytes each. A code is
// stored as u = code+1 in {0,1,2}. Byte b of a block belongs to row b/4 of the
// panel; its bits 2j and 2j+1 hold column 4j + b%4 of the block. Shifting a
// block right by 2j therefore leaves four consecutive columns of one row in each
// 32-bit lane: what SDOT multiplies with element j of 16 activation bytes. Rows
// stay in lanes, so no sum ever crosses lanes.
//
// Rows and columns that only pad hold u = 0, and activations are padded with
// zeros, so padding columns add nothing; a padding row's sum is not looked at.
const (
	// PanelRows is the number of rows in a panel.
	PanelRows = 16
	// BlockCols is the number of columns in a block.
	BlockCols  = 16
	blockBytes = PanelRows * BlockCols / 4
)

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// PaddedCols is k rounded up to whole blocks.
func PaddedCols(k int) int { return ceilDiv(k, BlockCols) * BlockCols }

// PaddedRows is n rounded up to whole panels.
func PaddedRows(n int) int { return ceilDiv(n, PanelRows) * PanelRows }

// PackedBytes is the size of a packed ternary matrix of n rows and k columns.
func PackedBytes(n, k int) int { return PaddedRows(n) * PaddedCols(k) / 4 }

// PackTernaryRows packs rows [r0, r1) of an [n,k] matrix of codes in {-1,0,+1}.
// codes holds only those rows, dst is the whole packed matrix. r0 is a multiple
// of PanelRows, r1 a multiple or n; disjoint ranges may be packed at the same
// time.
func PackTernaryRows(dst []byte, codes []int8, n, k, r0, r1 int) {
	if r0 < 0 || r1 > n || r0 > r1 || r0%PanelRows != 0 || r1%PanelRows != 0 && r1 != n {
		panic("asm: row range is not made of whole panels")
	}
	pb := PackedBytes(PanelRows, k)
	codes = codes[:(r1-r0)*k]
	clear(dst[r0/PanelRows*pb : ceilDiv(r1, PanelRows)*pb])
	for r := r0; r < r1; r++ {
		panel := dst[r/PanelRows*pb:][:pb]
		for i, c := range codes[(r-r0)*k:][:k] {
			at, bit := place(r, i)
			panel[at] |= byte(c+1) & 3 << bit
		}
	}
}

// place is where column i of row r lies in its panel.
func place(r, i int) (at, bit int) {
	return i/BlockCols*blockBytes + 4*(r%PanelRows) + i%4, 2 * (i % BlockCols / 4)
}

// NotTernary returns the index of the first code that is not -1, 0 or 1, or -1.
func NotTernary(codes []int8) int {
	for i, c := range codes {
		if uint8(c+1) > 2 {
			return i
		}
	}
	return -1
}
