package ternary

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/absmean"
	"github.com/trit-ml/trit/ops"
)

// ScaleAttrs names how the scale is found; "absmean" is the mean absolute
// weight, of the whole matrix or, with Group above 0, of each Group weights
// along a row.
type ScaleAttrs struct {
	Scale string
	Group int
}

// AbsMean is the quantizer of BitNet b1.58.
var AbsMean = ScaleAttrs{Scale: "absmean"}

// WeightEps is the smallest mean, applied before the inverse.
const WeightEps = absmean.Eps

func (a ScaleAttrs) check(w graph.Type) error {
	if a.Scale != "absmean" {
		return fmt.Errorf("scale is %q, want absmean", a.Scale)
	}
	_, err := a.scales(w)
	return err
}

// scales is the type of the scales of a matrix: f32[], or f32[N,K/Group].
func (a ScaleAttrs) scales(w graph.Type) (graph.Type, error) {
	if a.Group == 0 {
		return graph.T(graph.F32), nil
	}
	k, ok := w.Last().Const()
	if !ok || a.Group < 0 || k%a.Group != 0 {
		return graph.Type{}, fmt.Errorf("a row of %s cannot be cut into groups of %d", w, a.Group)
	}
	return graph.T(graph.F32, w.Shape[0], graph.C(k/a.Group)), nil
}

// Groups calls f for each stretch of weights that has one scale, in order: the
// i-th begins at from.
func (a ScaleAttrs) Groups(w []float32, f func(i, from int, w []float32)) {
	n := a.Group
	if n == 0 {
		n = len(w)
	}
	for from := 0; from < len(w); from += n {
		f(from/n, from, w[from:from+n])
	}
}

// InverseScale returns s = 1/max(mean|w|, WeightEps) in f32, the factor that
// brings weights to the ternary grid. The mean is accumulated in float64: the
// published models sum in f32, in an order that depends on their threads, and
// differ from it by at most 1.6e-7 on the reference models, without a code.
func InverseScale(w []float32) float32 {
	var m absmean.Mean
	m.Add(w)
	return m.Inverse()
}

// Code returns clamp(round(w·s), −1, 1), half to even.
func Code(w, s float32) int8 { return absmean.Code(w, s) }

// QuantizeOp is the absmean weight quantizer: codes, and the scale γ that they
// are multiplied by (Ma et al. 2024, "The Era of 1-bit LLMs").
var QuantizeOp = graph.Define(graph.Def[ScaleAttrs]{
	Name: "ternary.quantize", Doc: "absmean quantization to {-1,0,+1}", In: "w", Out: "t, gamma",
	Infer: func(a ScaleAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.Float("w", 2)); err != nil {
			return nil, err
		}
		scales, err := a.scales(in[0])
		if err != nil {
			return nil, err
		}
		return []graph.Type{graph.T(graph.Tern, in[0].Shape...), scales}, a.check(in[0])
	},
	Ref: func(a ScaleAttrs, in, out []graph.Tensor) error {
		w, err := in[0].ToF32()
		if err != nil {
			return err
		}
		if w.Len() == 0 && a.Group == 0 {
			out[1].F32()[0] = 1 / InverseScale(nil)
		}
		a.Groups(w.F32(), func(g, from int, w []float32) {
			s := InverseScale(w)
			t := out[0].I8()[from:]
			for i, v := range w {
				t[i] = Code(v, s)
			}
			out[1].F32()[g] = 1 / s
		})
		return nil
	},
})

// Quantize returns the codes tern[N,K] and the scale f32[] of w [N,K].
func Quantize(w graph.Value) (t, gamma graph.Value) {
	out := QuantizeOp.Emit(AbsMean, w)
	return out[0], out[1]
}

// FakeOp is quantization followed by dequantization, in floats. Its gradient is
// the identity, also through the scale (straight-through estimator).
var FakeOp = graph.Define(graph.Def[ScaleAttrs]{
	Name: "ternary.fake", Doc: "absmean ternary quantization, dequantized", In: "w", Out: "y",
	Phases: graph.Declared | graph.Training,
	Infer: func(a ScaleAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.Float("w", 2)); err != nil {
			return nil, err
		}
		return []graph.Type{graph.T(graph.F32, in[0].Shape...)}, a.check(in[0])
	},
	Ref: func(a ScaleAttrs, in, out []graph.Tensor) error {
		w, err := in[0].ToF32()
		if err != nil {
			return err
		}
		a.Groups(w.F32(), func(_, from int, w []float32) {
			s, y := InverseScale(w), out[0].F32()[from:]
			for i, v := range w {
				y[i] = float32(Code(v, s)) / s
			}
		})
		return nil
	},
	Grad: func(_ ScaleAttrs, c *graph.GradCtx) ([]graph.Value, error) { return c.DOut, nil },
})

// Fake returns w rounded to its ternary grid, with straight-through gradient.
func Fake(w graph.Value) graph.Value { return FakeOp.One(AbsMean, w) }
