package collective

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// ReduceScatterOp gives each rank its part of the sum of all ranks' x, cut by
// ops.PartBounds and padded with zeros to f32[ops.PartSize].
var ReduceScatterOp = graph.Define(graph.Def[Attrs]{
	Name: "reduce_scatter", Doc: "this rank's part of the sum of all ranks' x, in the order of ranks", In: "x", Out: "part",
	Infer: func(a Attrs, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.F32("x", -1)); err != nil {
			return nil, err
		}
		if err := a.check(); err != nil {
			return nil, err
		}
		part, err := ops.PartType(in[0], a.Ranks)
		return []graph.Type{part}, err
	},
	Ref: func(a Attrs, in, out []graph.Tensor) error {
		copy(out[0].F32(), in[0].F32())
		return a.alone()
	},
})

// ReduceScatter returns this rank's part of the sum of all ranks' x.
func ReduceScatter(x graph.Value, a Attrs) graph.Value { return ReduceScatterOp.One(a, x) }
