package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// ternaryLayout is the packed form of ternary weights: two bits a weight, panels
// of 16 rows; see internal/asm. The same bytes serve one token and many.
const ternaryLayout graph.Layout = "i2x16"

// colsLayout is the packed form of ternary weights that meet many zeros: two bits
// a weight, columns in one stretch; see internal/asm.
const colsLayout graph.Layout = "i2c256"

// rowsLayout is the packed form of ternary weights of which only some rows may be
// wanted: two bits a weight, rows in one stretch; see internal/asm.
const rowsLayout graph.Layout = "i2r256"

func (u *unit) layouts() []devices.Layout {
	return []devices.Layout{
		ternaryPacking(ternaryLayout, asm.PackedBytes, packPanels*asm.PanelRows, asm.PackTernaryRows),
		ternaryPacking(rowsLayout, asm.PackedRowsBytes, packPanels*asm.PanelRows, asm.PackTernaryByRow),
		ternaryPacking(colsLayout, asm.PackedColsBytes, asm.ColRows, asm.PackTernaryCols),
	}
}

// packPanels is how many panels one packing task makes.
const packPanels = 4

// ternaryPacking is a layout of codes tern[N,K] of the given size, packed in
// parallel, the given number of rows at a time. A code outside {-1,0,1} is an
// error of the weights.
func ternaryPacking(name graph.Layout, size func(n, k int) int, rows int, pack func(dst []byte, codes []int8, n, k, r0, r1 int)) devices.Layout {
	return devices.Layout{
		Name: name,
		Elem: graph.Tern,
		Bytes: func(dims []int) int {
			if len(dims) != 2 {
				return 0
			}
			return size(dims[0], dims[1])
		},
		Pack: func(in, out devices.Operand) (devices.Launch, error) {
			if len(in.Dims) != 2 || in.Elem != graph.Tern {
				return nil, fmt.Errorf("layout %s packs tern[N,K], not %s%v", name, in.Elem, in.Dims)
			}
			n, k := in.Dims[0], in.Dims[1]
			codes, packed := host.I8(in), host.Bytes(out, size(n, k))
			if (codes == nil || packed == nil) && n*k > 0 {
				return nil, fmt.Errorf("pack %s: weights or destination are not in host memory", name)
			}
			return host.Chunks(&devices.Call{}, n, rows, func(from, to int) {
				rows := codes[from*k : to*k]
				if i := asm.NotTernary(rows); i >= 0 {
					host.Fail(fmt.Errorf("weight code %d at row %d, column %d is not ternary", rows[i], from+i/k, i%k))
				}
				pack(packed, rows, n, k, from, to)
			}), nil
		},
	}
}
