package ternary

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// RowsAttrs names the half-open range [From,To) of rows.
type RowsAttrs struct{ From, To int }

// SliceOp takes some rows of a ternary weight, which keep the scale of the whole.
var SliceOp = graph.Define(graph.Def[RowsAttrs]{
	Name: "ternary.slice", Doc: "rows from..to-1 of t", In: "t", Out: "y", Exact: true,
	Infer: func(a RowsAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.Want{Name: "t", Elems: []graph.DType{graph.Tern}, Rank: 2}); err != nil {
			return nil, err
		}
		n, ok := in[0].Shape[0].Const()
		if !ok || a.From < 0 || a.From > a.To || a.To > n {
			return nil, fmt.Errorf("rows %d to %d are not inside %s", a.From, a.To, in[0])
		}
		return []graph.Type{graph.T(graph.Tern, graph.C(a.To-a.From), in[0].Shape[1])}, nil
	},
	Ref: func(a RowsAttrs, in, out []graph.Tensor) error {
		k := in[0].Dims[1]
		copy(out[0].I8(), in[0].I8()[a.From*k:a.To*k])
		return nil
	},
})

// Slice returns rows from..to-1 of a ternary weight.
func Slice(t graph.Value, from, to int) graph.Value { return SliceOp.One(RowsAttrs{from, to}, t) }
