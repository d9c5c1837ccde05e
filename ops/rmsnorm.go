package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// NormAttrs holds a norm's epsilon.
type NormAttrs struct{ Eps float64 }

// RMSNormOp is y = g ⊙ x/√(mean(x²)+eps) over the last dimension, without bias
// and mean removal (Zhang and Sennrich 2019).
var RMSNormOp = graph.Define(graph.Def[NormAttrs]{
	Name: "rmsnorm", Doc: "y = g * x / sqrt(mean(x²) + eps), per row", In: "x, g", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{0},
	Infer: func(_ NormAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", -1), F32("g", 1)); err != nil {
			return nil, err
		}
		return one(in[0]), EqualDim("a row of x", in[0].Last(), "g", in[1].Shape[0])
	},
	Ref: func(a NormAttrs, in, out []graph.Tensor) error {
		d := in[0].Row()
		x, g, y := in[0].F32(), in[1].F32(), out[0].F32()
		for o := 0; o < len(x); o += d {
			r := invRMS(x[o:o+d], a.Eps)
			for j := range d {
				y[o+j] = g[j] * (x[o+j] * r)
			}
		}
		return nil
	},
	Grad: func(a NormAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		return RMSNormGradOp.Emit(a, c.In[0], c.In[1], c.DOut[0]), nil
	},
})

// RMSNorm normalises the rows of x f32[S,D] and scales them by g f32[D].
func RMSNorm(x, g graph.Value, eps float64) graph.Value {
	return RMSNormOp.One(NormAttrs{eps}, x, g)
}

// invRMS is 1/√(mean(x²)+eps), rounded to f32 once.
func invRMS(x []float32, eps float64) float32 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return float32(1 / math.Sqrt(s/float64(len(x))+eps))
}

// RMSNormGradOp differentiates RMSNormOp. With n = x·r, r = 1/rms:
// dx = r·(g·dy − n·mean(g·dy·n)), dg = Σ_rows dy·n.
var RMSNormGradOp = graph.Define(graph.Def[NormAttrs]{
	Name: "rmsnorm.grad", Doc: "gradients of rmsnorm", In: "x, g, dy", Out: "dx, dg",
	BF16: "x, dy -> dx",
	Infer: func(_ NormAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", -1), F32("g", 1), F32("dy", -1)); err != nil {
			return nil, err
		}
		if err := EqualDim("a row of x", in[0].Last(), "g", in[1].Shape[0]); err != nil {
			return nil, err
		}
		return []graph.Type{in[0], in[1]}, Same("x", in[0], "dy", in[2])
	},
	Ref: func(a NormAttrs, in, out []graph.Tensor) error {
		d := in[0].Row()
		x, g, dy := in[0].F32(), in[1].F32(), in[2].F32()
		dx := out[0].F32()
		dg := make([]float64, d)
		for o := 0; o < len(x); o += d {
			r := float64(invRMS(x[o:o+d], a.Eps))
			var dot float64
			for j := range d {
				dot += float64(g[j]) * float64(dy[o+j]) * float64(x[o+j]) * r
			}
			dot /= float64(d)
			for j := range d {
				n := float64(x[o+j]) * r
				dx[o+j] = float32(r * (float64(g[j])*float64(dy[o+j]) - n*dot))
				dg[j] += float64(dy[o+j]) * n
			}
		}
		for j, v := range dg {
			out[1].F32()[j] = float32(v)
		}
		return nil
	},
})
