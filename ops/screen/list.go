package screen

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// ListAttrs says how many tokens a list holds.
type ListAttrs struct{ Most int }

// ListOp lists the largest elements of each row with their places: the k[i]
// largest of row i, all that the list holds if k[i] is below 1 or above that. The
// largest comes first, the lowest place among equals. NaN and −Inf are never
// listed; where nothing is left the place is −1 and the value −Inf.
var ListOp = graph.Define(graph.Def[ListAttrs]{
	Name: "screen.list", Doc: "places and values of the k[i] largest elements of row i, in order", In: "x, k", Out: "ids, y",
	Rowwise: []int{0, 1}, Exact: true,
	Infer: func(a ListAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.F32("x", 2), ops.I32("k", 1)); err != nil {
			return nil, err
		}
		if a.Most < 1 {
			return nil, fmt.Errorf("most is %d, want at least 1", a.Most)
		}
		rows, width := in[0].Shape[0], graph.C(a.Most)
		return []graph.Type{graph.T(graph.I32, rows, width), graph.T(graph.F32, rows, width)}, ops.EqualDim("x", rows, "k", in[1].Shape[0])
	},
	Ref: func(a ListAttrs, in, out []graph.Tensor) error {
		x, n, none := in[0].F32(), in[0].Dims[1], float32(math.Inf(-1))
		for i, k := range in[1].I32() {
			row := x[i*n : (i+1)*n]
			var at []int
			for j, v := range row {
				if v > none {
					at = append(at, j)
				}
			}
			slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(row[b], row[a]) })
			if k < 1 || int(k) > a.Most {
				k = int32(a.Most)
			}
			at = at[:min(len(at), int(k))]
			for j := range a.Most {
				id, v := int32(-1), none
				if j < len(at) {
					id, v = int32(at[j]), row[at[j]]
				}
				out[0].I32()[i*a.Most+j], out[1].F32()[i*a.Most+j] = id, v
			}
		}
		return nil
	},
})

// LikeliestOp lists the likeliest tokens of x·wᵀ. As with TopOp, the planes are for
// kernels. It is for devices that would rather pick tokens than hand over a value
// for each of the vocabulary.
var LikeliestOp = graph.Define(graph.Def[ListAttrs]{
	Name: "screen.likeliest", Doc: "the k[i] largest of row i of x·wᵀ, in order",
	Uses: []*graph.OpDef{ops.MatMulOp.OpDef, ListOp.OpDef},
	Body: `(%x, %k, %w, %nibbles, %crumbs, %bounds) -> (%ids, %y) {
		%l       = matmul(%x, %w) {tb=true}
		%ids, %y = screen.list(%l, %k) {most=$most}
	}`,
})

// Likeliest returns the ids i32[S,most] and logits f32[S,most] of the k[i]
// likeliest tokens of each row: x is f32[S,K], k i32[S], w [N,K].
func Likeliest(x, k, w graph.Value, most int) (ids, logits graph.Value) {
	p := PlanesOp.Emit(graph.None{}, w)
	out := LikeliestOp.Emit(ListAttrs{Most: most}, x, k, w, p[0], p[1], p[2])
	return out[0], out[1]
}
