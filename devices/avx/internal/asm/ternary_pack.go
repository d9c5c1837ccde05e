package asm

// The ternary layout "i2x16", two bits a weight.
//
// A panel is 16 consecutive rows; panels follow each other. Within a panel,
// blocks of 16 consecutive columns follow each other, 64 bytes each. A code is
// stored as u = code+1 in {0,1,2}. Byte b of a block (0..63) belongs to row b/4
// of the panel; its bits 2j and 2j+1 hold column 4j + b%4 of the block:
//
//	            byte 4r      byte 4r+1    byte 4r+2    byte 4r+3
//	bits 0,1    row r, k=0   k=1          k=2          k=3
//	bits 2,3    row r, k=4   k=5          k=6          k=7
//	bits 4,5    row r, k=8   …
//	bits 6,7    row r, k=12  …
//
// Shifting a block right by 2j therefore leaves, in 32-bit lane r, four
// consecutive columns of row r: what VPMADDUBSW and VPDPBUSD multiply with four
// broadcast activation bytes. Rows stay in lanes, so no sum ever crosses lanes.
// The same bytes serve the vector kernel (M = 1) and, unpacked to a byte a
// weight, the matrix kernel.
//
// Rows and columns that only pad hold u = 0. A padding column must, because it
// then adds nothing whatever activation byte it meets; a padding row's sum is
// never stored.
const (
	// PanelRows is the number of rows in a panel. Ranges of rows begin at a
	// multiple of it, and end at one or at the last row.
	PanelRows = 16
	// BlockCols is the number of columns in a block.
	BlockCols  = 16
	blockBytes = PanelRows * BlockCols / 4
)

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// panelBytes is the packed size of one panel of k columns.
func panelBytes(k int) int { return ceilDiv(k, BlockCols) * blockBytes }

// PackedBytes is the size of a packed ternary matrix of n rows and k columns.
func PackedBytes(n, k int) int { return ceilDiv(n, PanelRows) * panelBytes(k) }

// PackTernary packs codes in {-1,0,+1}, row-major [n,k], into dst, which has at
// least PackedBytes(n, k) bytes. Other code values have their low bits kept
// after adding one; callers check before.
func PackTernary(dst []byte, codes []int8, n, k int) {
	PackTernaryRows(dst, codes, n, k, 0, n)
}

// PackTernaryRows packs rows [r0, r1) of an [n,k] matrix. codes holds only those
// rows, dst is the whole packed matrix. r0 is a multiple of PanelRows, r1 a
// multiple or n; disjoint ranges may be packed at the same time.
func PackTernaryRows(dst []byte, codes []int8, n, k, r0, r1 int) {
	checkRows(n, r0, r1)
	pb := panelBytes(k)
	codes = codes[:(r1-r0)*k]
	for p := r0 / PanelRows; p*PanelRows < r1; p++ {
		panel := dst[p*pb : (p+1)*pb]
		clear(panel)
		for r := range min(PanelRows, r1-p*PanelRows) {
			packRow(panel, codes[(p*PanelRows+r-r0)*k:][:k], r)
		}
	}
}

// UnpackTernary is the inverse of PackTernary: it writes [n,k] codes.
func UnpackTernary(codes []int8, packed []byte, n, k int) {
	pb := panelBytes(k)
	for r := range n {
		panel := packed[r/PanelRows*pb:][:pb]
		row := codes[r*k:][:k]
		for i := range row {
			b := i/BlockCols*blockBytes + 4*(r%PanelRows) + i%4
			row[i] = int8(panel[b]>>(2*(i%BlockCols/4))&3) - 1
		}
	}
}

// checkRows panics unless [r0, r1) is a range of whole panels of n rows.
func checkRows(n, r0, r1 int) { checkRange(n, r0, r1, PanelRows) }

// checkRange panics unless [r0, r1) is a range of whole groups of n rows.
func checkRange(n, r0, r1, group int) {
	if r0 < 0 || r1 > n || r0 > r1 || r0%group != 0 || r1%group != 0 && r1 != n {
		panic("asm: row range is not made of whole groups")
	}
}
