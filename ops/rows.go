package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// RowsOp picks rows, such as the last token of each sequence.
var RowsOp = graph.Define(graph.Def[graph.None]{
	Name: "rows", Doc: "y[i] = x[idx[i]]", In: "x, idx", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, Want{"x", []graph.DType{graph.F32, graph.I32}, -1}, I32("idx", 1)); err != nil {
			return nil, err
		}
		t := in[0]
		if t.Rank() == 0 {
			return nil, fmt.Errorf("x is %s, want at least one dimension", t)
		}
		t.Shape = append(graph.Shape{in[1].Shape[0]}, t.Shape[1:]...)
		return one(t), nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		s := in[0].Dims[0]
		w := len(in[0].Data) / max(s, 1)
		for i, r := range in[1].I32() {
			if int(r) < 0 || int(r) >= s {
				return fmt.Errorf("row %d at %d is outside the %d rows", r, i, s)
			}
			copy(out[0].Data[i*w:(i+1)*w], in[0].Data[int(r)*w:])
		}
		return nil
	},
})

// Rows returns rows idx i32[R] of x [S,…] (f32 or i32), as [R,…].
func Rows(x, idx graph.Value) graph.Value { return RowsOp.One(graph.None{}, x, idx) }
