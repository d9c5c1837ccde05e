package collective

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// GatherColumnsOp gives every rank the rows that the ranks hold parts of: rank r
// has elements r·n to (r+1)·n of each row of y in its x, f32[S,n]. Nothing is
// computed, so y is the same bits however many ranks there are.
var GatherColumnsOp = graph.Define(graph.Def[ReduceAttrs]{
	Name: "gather_columns", Doc: "rows f32[S,ranks*n] of all ranks' parts x f32[S,n]", In: "x", Out: "y",
	Infer: func(a ReduceAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := (Attrs{Ranks: a.Ranks}).check(); err != nil {
			return nil, err
		}
		if err := ops.Check(in, ops.F32("x", 2)); err != nil {
			return nil, err
		}
		n, ok := in[0].Shape[1].Const()
		if !ok {
			return nil, fmt.Errorf("x is %s: its rows must have a constant length", in[0])
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape[0], graph.C(a.Ranks*n))}, nil
	},
	Ref: func(a ReduceAttrs, in, out []graph.Tensor) error {
		copy(out[0].F32(), in[0].F32())
		return Attrs{Ranks: a.Ranks}.alone()
	},
})

// GatherColumns returns the rows that the ranks hold parts of.
func GatherColumns(x graph.Value, ranks int) graph.Value {
	return GatherColumnsOp.One(ReduceAttrs{ranks}, x)
}
