package ops

import "github.com/trit-ml/trit/graph"

// AccumulateOp adds x to acc in place, or overwrites acc with x where first is
// not 0: the first micro-batch of a step needs no cleared accumulator, and what
// was there before, even NaN, does not matter.
var AccumulateOp = graph.Define(graph.Def[graph.None]{
	Name: "accumulate", Doc: "acc + x in place, or x alone if first is not 0", In: "acc, x, first", Out: "acc",
	Updates: []graph.Update{{In: 0, Out: 0}},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("acc", -1), F32("x", -1), F32("first", 0)); err != nil {
			return nil, err
		}
		return one(in[0]), Same("acc", in[0], "x", in[1])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		acc, x, y := in[0].F32(), in[1].F32(), out[0].F32()
		if in[2].F32()[0] != 0 {
			copy(y, x)
			return nil
		}
		for i := range y {
			y[i] = acc[i] + x[i]
		}
		return nil
	},
})
