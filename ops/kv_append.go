package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// KVAppendOp writes the keys and values of the step's tokens to their places in
// the paged caches, in place. A half-precision cache rounds to nearest even.
var KVAppendOp = graph.Define(graph.Def[graph.None]{
	Name: "kv.append", Doc: "cache rows of (seq, pos) = k, v", In: "kc, vc, k, v, seq, pos, table", Out: "kc, vc",
	Updates: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 1}},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, Float("kc", 3), Float("vc", 3), F32("k", 2), F32("v", 2), I32("seq", 1), I32("pos", 1), I32("table", 2)); err != nil {
			return nil, err
		}
		if !in[0].Equal(in[1]) || !in[2].Equal(in[3]) {
			return nil, fmt.Errorf("keys (%s, %s) and values (%s, %s) differ in type", in[0], in[2], in[1], in[3])
		}
		if err := EqualDim("a cache row", in[0].Last(), "a row of k", in[2].Last()); err != nil {
			return nil, err
		}
		if err := EqualDim("k", in[2].Shape[0], "seq", in[4].Shape[0]); err != nil {
			return nil, err
		}
		return []graph.Type{in[0], in[1]}, EqualDim("k", in[2].Shape[0], "pos", in[5].Shape[0])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		pages := Pages{in[0].Dims[0], in[0].Dims[1], in[6].Dims[1], in[6].I32()}
		w := in[0].Dims[2]
		for c := range 2 {
			copy(out[c].Data, in[c].Data)
			src := in[2+c].F32()
			for i := range in[4].Dims[0] {
				row, err := pages.Row(int(in[4].I32()[i]), int(in[5].I32()[i]))
				if err != nil {
					return fmt.Errorf("token %d: %w", i, err)
				}
				storeFloats(out[c], row*w, src[i*w:(i+1)*w])
			}
		}
		return nil
	},
})

func storeFloats(dst graph.Tensor, at int, src []float32) {
	switch dst.Elem {
	case graph.F32:
		copy(dst.F32()[at:], src)
	case graph.BF16:
		for i, v := range src {
			dst.U16()[at+i] = graph.F32ToBF16(v)
		}
	case graph.F16:
		for i, v := range src {
			dst.U16()[at+i] = graph.F32ToF16(v)
		}
	}
}
