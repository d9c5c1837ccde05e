package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// EmbeddingOp looks up rows of a table and widens them to f32.
var EmbeddingOp = graph.Define(graph.Def[graph.None]{
	Name: "embedding", Doc: "y[i] = table[ids[i]]", In: "table, ids", Out: "y",
	Rowwise: []int{1},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, Float("table", 2), I32("ids", 1)); err != nil {
			return nil, err
		}
		return one(graph.T(graph.F32, in[1].Shape[0], in[0].Shape[1])), nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		v, d := in[0].Dims[0], in[0].Dims[1]
		y := out[0].F32()
		for i, id := range in[1].I32() {
			if int(id) < 0 || int(id) >= v {
				return fmt.Errorf("id %d at %d is outside the table of %d rows", id, i, v)
			}
			for j := range d {
				y[i*d+j] = float32(in[0].FloatAt(int(id)*d + j))
			}
		}
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		rows, _ := c.In[0].Dim(0).Const()
		d := EmbeddingGradOp.One(EmbeddingGradAttrs{rows}, c.In[1], c.DOut[0])
		if elem := c.In[0].Type().Elem; elem != graph.F32 {
			d = Cast(d, elem)
		}
		return []graph.Value{d}, nil
	},
})

// Embedding returns the rows ids i32[S] of table [V,D], as f32[S,D].
func Embedding(table, ids graph.Value) graph.Value {
	return EmbeddingOp.One(graph.None{}, table, ids)
}

// EmbeddingGradAttrs holds the number of rows of the table.
type EmbeddingGradAttrs struct{ Rows int }

// EmbeddingGradOp adds each row of dy to row ids[i] of a zero table, in order
// of i.
var EmbeddingGradOp = graph.Define(graph.Def[EmbeddingGradAttrs]{
	Name: "embedding.grad", Doc: "dtable[ids[i]] += dy[i]", In: "ids, dy", Out: "dtable",
	BF16: "dy ->",
	Infer: func(a EmbeddingGradAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, I32("ids", 1), F32("dy", 2)); err != nil {
			return nil, err
		}
		if err := EqualDim("ids", in[0].Shape[0], "dy", in[1].Shape[0]); err != nil {
			return nil, err
		}
		return one(graph.T(graph.F32, graph.C(a.Rows), in[1].Shape[1])), nil
	},
	Ref: func(a EmbeddingGradAttrs, in, out []graph.Tensor) error {
		d := in[1].Dims[1]
		dy, dt := in[1].F32(), out[0].F32()
		clear(dt)
		for i, id := range in[0].I32() {
			if int(id) < 0 || int(id) >= a.Rows {
				return fmt.Errorf("id %d at %d is outside the table of %d rows", id, i, a.Rows)
			}
			row := dt[int(id)*d : int(id+1)*d]
			for j := range row {
				row[j] += dy[i*d+j]
			}
		}
		return nil
	},
})
