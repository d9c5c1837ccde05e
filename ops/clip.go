package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SqSumOp adds the squares of all elements.
var SqSumOp = graph.Define(graph.Def[graph.None]{
	Name: "sqsum", Doc: "the sum of squares of all elements", In: "x", Out: "y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return one(scalarF32), Check(in, F32("x", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		var s float64
		for _, v := range in[0].F32() {
			s += float64(v) * float64(v)
		}
		out[0].F32()[0] = float32(s)
		return nil
	},
})

// ClipAttrs holds the largest allowed global norm; 0 means no clipping.
type ClipAttrs struct{ Max float64 }

// ClipOp turns the squared norms of all gradients into the factor that limits
// the global norm: min(1, max/(norm+1e-6)). A norm that is not finite gives a
// factor that is not finite, so that a bad step is seen.
var ClipOp = graph.Define(graph.Def[ClipAttrs]{
	Name: "clip", Doc: "global-norm clipping factor and the norm", In: "sq...", Out: "factor, norm",
	Infer: func(_ ClipAttrs, in []graph.Type) ([]graph.Type, error) {
		for i := range in {
			if err := Check(in[i:], F32("sq", 0)); err != nil {
				return nil, err
			}
		}
		return []graph.Type{scalarF32, scalarF32}, nil
	},
	Ref: func(a ClipAttrs, in, out []graph.Tensor) error {
		var s float64
		for _, t := range in {
			s += float64(t.F32()[0])
		}
		norm := math.Sqrt(s)
		f := 1.0
		if a.Max > 0 && !(norm <= a.Max) {
			f = a.Max / (norm + 1e-6)
		}
		out[0].F32()[0], out[1].F32()[0] = float32(f), float32(norm)
		return nil
	},
})
