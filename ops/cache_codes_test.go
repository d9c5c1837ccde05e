package ops_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

// TestCodesAreOffByHalfAStep appends tokens to a cache of codes and reads them
// back: every element is within half a step, 1/254 of the largest of its head, and
// no other row has changed.
func TestCodesAreOffByHalfAStep(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for _, d := range [][2]int{{2, 4}, {1, 40}, {3, 100}} { // heads and their channels
		const size, blocks = 8, 5
		heads, hd := d[0], d[1]
		codes, steps := graph.NewTensor(graph.I8, blocks, size, heads*hd), graph.NewTensor(graph.F32, blocks, size, heads)
		for i := range codes.I8() {
			codes.I8()[i] = 99
		}
		table := graph.FromI32([]int32{3, 0, 4}, 1, 3)
		seq, pos := graph.NewTensor(graph.I32, 4), graph.FromI32([]int32{0, 7, 9, 23}, 4)
		k, v := opcheck.Normal(r, 4, heads*hd), opcheck.Normal(r, 4, heads*hd)
		out := run(t, ops.KVAppendCodesOp.OpDef, graph.None{}, codes, steps, codes, steps, k, v, seq, pos, table)
		pages := ops.NewCodePages(codes.Dims, steps.Dims, 3, table.I32())
		at := map[int]int{} // tokens by row
		for i, p := range pos.I32() {
			row, err := pages.Row(0, int(p))
			if err != nil {
				t.Fatal(err)
			}
			at[row] = i
		}
		seen := [2]map[int]bool{{}, {}}
		for row := range blocks * size {
			for c := range heads * hd {
				index := [2]int{pages.Key(row, c), pages.Value(row, c)}
				step := pages.Step(row, c/hd)
				for j, x := range []graph.Tensor{k, v} {
					seen[j][index[j]] = true
					q := out[2*j].I8()[index[j]]
					i, ok := at[row]
					if !ok {
						if q != 99 {
							t.Fatalf("row %d, which nobody wrote, has the code %d", row, q)
						}
						continue
					}
					most := 0.0
					for _, v := range x.F32()[i*heads*hd+c/hd*hd:][:hd] {
						most = max(most, math.Abs(float64(v)))
					}
					want, got := float64(x.F32()[i*heads*hd+c]), float64(q)*float64(out[2*j+1].F32()[step])
					if math.Abs(want-got) > most/254*1.00001 {
						t.Fatalf("%d heads of %d, token %d, channel %d: %v became %v; the largest is %v", heads, hd, i, c, want, got, most)
					}
				}
			}
		}
		if n := len(codes.I8()); len(seen[0]) != n || len(seen[1]) != n {
			t.Errorf("%d codes have %d places as keys and %d as values", n, len(seen[0]), len(seen[1]))
		}
	}
}
