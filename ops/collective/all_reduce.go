package collective

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// ReduceAttrs is the number of ranks of an op that is the same on all.
type ReduceAttrs struct{ Ranks int }

// AllReduceOp gives every rank the sum of all ranks' x, f32 of any shape.
var AllReduceOp = graph.Define(graph.Def[ReduceAttrs]{
	Name: "all_reduce", Doc: "the sum of all ranks' x, in the order of ranks", In: "x", Out: "y",
	Infer: func(a ReduceAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := (Attrs{Ranks: a.Ranks}).check(); err != nil {
			return nil, err
		}
		return in, ops.Check(in, ops.F32("x", -1))
	},
	Ref: func(a ReduceAttrs, in, out []graph.Tensor) error {
		copy(out[0].F32(), in[0].F32())
		return Attrs{Ranks: a.Ranks}.alone()
	},
})

// AllReduce returns the sum of all ranks' x.
func AllReduce(x graph.Value, ranks int) graph.Value {
	return AllReduceOp.One(ReduceAttrs{ranks}, x)
}

// AllReduceInPlaceOp is AllReduceOp over a state.
var AllReduceInPlaceOp = graph.Define(graph.Def[ReduceAttrs]{
	Name: "all_reduce.in_place", Doc: "the sum of all ranks' x, in the order of ranks, in place of x", In: "x", Out: "x",
	Updates: []graph.Update{{In: 0, Out: 0}},
	Infer: func(a ReduceAttrs, in []graph.Type) ([]graph.Type, error) {
		return AllReduceOp.InferTypes(a, in)
	},
	Ref: func(a ReduceAttrs, in, out []graph.Tensor) error { return AllReduceOp.Run(a, in, out) },
})
