package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// RowsOp picks rows of an activation, such as the last token of each sequence.
var RowsOp = graph.Define(graph.Def[graph.None]{
	Name: "rows", Doc: "y[i] = x[idx[i]]", In: "x, idx", Out: "y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", 2), I32("idx", 1)); err != nil {
			return nil, err
		}
		return one(graph.T(graph.F32, in[1].Shape[0], in[0].Shape[1])), nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		s, d := in[0].Dims[0], in[0].Dims[1]
		x, y := in[0].F32(), out[0].F32()
		for i, r := range in[1].I32() {
			if int(r) < 0 || int(r) >= s {
				return fmt.Errorf("row %d at %d is outside the %d rows", r, i, s)
			}
			copy(y[i*d:(i+1)*d], x[int(r)*d:int(r+1)*d])
		}
		return nil
	},
})

// Rows returns rows idx i32[R] of x f32[S,D], as f32[R,D].
func Rows(x, idx graph.Value) graph.Value { return RowsOp.One(graph.None{}, x, idx) }
