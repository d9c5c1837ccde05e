package collective

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// AllGatherOp completes x, a state of which each rank has updated its own part
// (ops.PartBounds), with the parts of the others, in place.
var AllGatherOp = graph.Define(graph.Def[Attrs]{
	Name: "all_gather", Doc: "x with each rank's own part, in place", In: "x", Out: "x",
	Updates: []graph.Update{{In: 0, Out: 0}},
	Infer: func(a Attrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(); err != nil {
			return nil, err
		}
		return in, ops.Check(in, ops.F32("x", -1))
	},
	Ref: func(a Attrs, in, out []graph.Tensor) error {
		copy(out[0].F32(), in[0].F32())
		return a.alone()
	},
})

// AllGather completes the state x with the other ranks' parts.
func AllGather(x graph.Value, a Attrs) graph.Value { return AllGatherOp.One(a, x) }
