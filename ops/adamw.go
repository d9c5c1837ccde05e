package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// AdamWAttrs holds what does not change during a run. Decay multiplies the
// step's weight decay: 1 for matrices, 0 for parameters that are not decayed.
//
// With Parts above 1 the op updates part Part alone of a parameter that is cut
// into Parts by [PartBounds]: g, m and v then are f32[PartSize], padded at the
// end (ZeRO stage 1, Rajbhandari et al. 2020).
type AdamWAttrs struct {
	Beta1, Beta2, Eps, Decay float64
	Part, Parts              int
}

// PartSize is how many of n elements each of parts holds; the last ones may
// have fewer.
func PartSize(n, parts int) int { return (n + parts - 1) / parts }

// PartBounds is the half-open range of n elements, in row-major order, that
// part holds.
func PartBounds(n, part, parts int) (from, to int) {
	size := PartSize(n, parts)
	return min(n, part*size), min(n, (part+1)*size)
}

// PartType is the type of one part of a tensor of constant extents.
func PartType(t graph.Type, parts int) (graph.Type, error) {
	dims, err := t.Shape.Eval(nil)
	if err != nil {
		return t, err
	}
	n, err := graph.Count(dims)
	return graph.T(t.Elem, graph.C(PartSize(n, parts))), err
}

// Owned cuts an AdamW operand p of n elements to what the op updates.
func (a AdamWAttrs) Owned(n int) (from, to int) {
	if a.Parts < 2 {
		return 0, n
	}
	return PartBounds(n, a.Part, a.Parts)
}

// AdamWOp is one step of Adam with decoupled weight decay (Loshchilov and
// Hutter 2019), in place on the parameter and both moments. hyper is
// [lr, weight decay, 1−β1ᵗ, √(1−β2ᵗ)]; the gradient is multiplied by factor
// first (clipping).
var AdamWOp = graph.Define(graph.Def[AdamWAttrs]{
	Name: "adamw", Doc: "AdamW update", In: "p, g, m, v, hyper, factor", Out: "p, m, v",
	Updates: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 1}, {In: 3, Out: 2}},
	Infer: func(a AdamWAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("p", -1), F32("g", -1), F32("m", -1), F32("v", -1), F32("hyper", 1), F32("factor", 0)); err != nil {
			return nil, err
		}
		part := in[0]
		if a.Parts > 1 {
			var err error
			if part, err = PartType(in[0], a.Parts); err != nil {
				return nil, fmt.Errorf("p: %w", err)
			}
			if a.Part < 0 || a.Part >= a.Parts {
				return nil, fmt.Errorf("part %d of %d", a.Part, a.Parts)
			}
		}
		for i, n := range []string{"g", "m", "v"} {
			if a.Parts > 1 && !in[1+i].Equal(part) {
				return nil, fmt.Errorf("%s is %s, want a part of p, %s", n, in[1+i], part)
			}
			if err := Same("p", part, n, in[1+i]); err != nil {
				return nil, err
			}
		}
		if in[4].Shape[0] != graph.C(4) {
			return nil, fmt.Errorf("hyper is %s, want f32[4]", in[4])
		}
		return []graph.Type{in[0], in[2], in[3]}, nil
	},
	Ref: func(a AdamWAttrs, in, out []graph.Tensor) error {
		s := NewAdamWStep(a, in[4].F32(), in[5].F32()[0])
		p, g, m, v := in[0].F32(), in[1].F32(), in[2].F32(), in[3].F32()
		copy(out[0].F32(), p)
		copy(out[1].F32(), m)
		copy(out[2].F32(), v)
		from, to := a.Owned(len(p))
		for i := range to - from {
			out[0].F32()[from+i], out[1].F32()[i], out[2].F32()[i] = s.Update(p[from+i], g[i], m[i], v[i])
		}
		return nil
	},
})

// AdamWStep holds one step's factors, rounded to f32 once for every device.
type AdamWStep struct {
	Factor, Keep, Step, BC2    float32 // gradient factor, 1−lr·decay, lr/bias correction 1, √bias correction 2
	Beta1, Rest1, Beta2, Rest2 float32
	Eps                        float32
}

// NewAdamWStep computes the factors of one step.
func NewAdamWStep(a AdamWAttrs, hyper []float32, factor float32) AdamWStep {
	lr := float64(hyper[0])
	return AdamWStep{
		Factor: factor, Keep: float32(1 - lr*float64(hyper[1])*a.Decay), Step: float32(lr / float64(hyper[2])), BC2: hyper[3],
		Beta1: float32(a.Beta1), Rest1: float32(1 - a.Beta1), Beta2: float32(a.Beta2), Rest2: float32(1 - a.Beta2),
		Eps: float32(a.Eps),
	}
}

// Update applies the step to one element.
func (s *AdamWStep) Update(p, g, m, v float32) (float32, float32, float32) {
	g *= s.Factor
	m = float32(s.Beta1*m) + float32(s.Rest1*g)
	v = float32(s.Beta2*v) + float32(float32(s.Rest2*g)*g)
	den := float32(math.Sqrt(float64(v)))/s.BC2 + s.Eps
	return float32(s.Keep*p) - float32(s.Step*float32(m/den)), m, v
}
