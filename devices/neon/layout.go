package neon

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// ternaryLayout is the packed form of ternary weights: two bits a weight, panels
// of 16 rows; see internal/asm.
const ternaryLayout graph.Layout = "i2x16"

func layouts() []devices.Layout {
	return []devices.Layout{{
		Name: ternaryLayout,
		Elem: graph.Tern,
		Bytes: func(dims []int) int {
			if len(dims) != 2 {
				return 0
			}
			return asm.PackedBytes(dims[0], dims[1])
		},
		Pack: packTernary,
	}}
}

// packPanels is how many panels one packing task makes.
const packPanels = 4

// packTernary packs codes tern[N,K] in parallel. A code outside {-1,0,1} is an
// error of the weights.
func packTernary(in, out devices.Operand) (devices.Launch, error) {
	if len(in.Dims) != 2 || in.Elem != graph.Tern {
		return nil, fmt.Errorf("layout %s packs tern[N,K], not %s%v", ternaryLayout, in.Elem, in.Dims)
	}
	n, k := in.Dims[0], in.Dims[1]
	codes, packed := host.I8(in), host.Bytes(out, asm.PackedBytes(n, k))
	if (codes == nil || packed == nil) && n*k > 0 {
		return nil, fmt.Errorf("pack %s: weights or destination are not in host memory", ternaryLayout)
	}
	return host.Chunks(&devices.Call{}, n, packPanels*asm.PanelRows, func(from, to int) {
		rows := codes[from*k : to*k]
		if i := asm.NotTernary(rows); i >= 0 {
			host.Fail(fmt.Errorf("weight code %d at row %d, column %d is not ternary", rows[i], from+i/k, i%k))
		}
		asm.PackTernaryRows(packed, rows, n, k, from, to)
	}), nil
}
