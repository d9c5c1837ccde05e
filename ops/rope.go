package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// RoPEAttrs holds the base frequency and the head width. Inverse rotates
// backwards, which is the gradient.
type RoPEAttrs struct {
	Theta   float64
	HeadDim int `ir:"head_dim"`
	Inverse bool
}

// RoPEOp rotates each head by its token's position, in the half-split form
// ("rotate-half", NeoX): element i pairs with i + head_dim/2, by the angle
// pos·theta^(−2i/head_dim) (Su et al. 2021).
var RoPEOp = graph.Define(graph.Def[RoPEAttrs]{
	Name: "rope", Doc: "rotary position embedding, half-split", In: "x, pos", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{0, 1},
	Infer: func(a RoPEAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", 2), I32("pos", 1)); err != nil {
			return nil, err
		}
		if a.HeadDim <= 0 || a.HeadDim%2 != 0 {
			return nil, fmt.Errorf("head_dim %d is not a positive even number", a.HeadDim)
		}
		if _, ok := in[0].Shape[1].Div(a.HeadDim); !ok {
			return nil, fmt.Errorf("x is %s, not a whole number of heads of %d", in[0], a.HeadDim)
		}
		return one(in[0]), EqualDim("x", in[0].Shape[0], "pos", in[1].Shape[0])
	},
	Ref: func(a RoPEAttrs, in, out []graph.Tensor) error {
		x, y, d := in[0].F32(), out[0].F32(), in[0].Dims[1]
		half := a.HeadDim / 2
		for t, p := range in[1].I32() {
			for i := range half {
				cos, sin := RoPEAngle(a.Theta, a.HeadDim, int(p), i)
				if a.Inverse {
					sin = -sin
				}
				for h := t * d; h < (t+1)*d; h += a.HeadDim {
					u, v := x[h+i], x[h+i+half]
					y[h+i] = u*cos - v*sin
					y[h+i+half] = v*cos + u*sin
				}
			}
		}
		return nil
	},
	Grad: func(a RoPEAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		a.Inverse = !a.Inverse
		return []graph.Value{c.Self(a, c.DOut[0], c.In[1])}, nil
	},
})

// RoPEFreq returns theta^(−2i/headDim). The exponent, the power and its
// reciprocal are each rounded to f32, as the published models compute it: at
// position 4095 one rounding more or less moves the angle by 2e-4.
func RoPEFreq(theta float64, headDim, i int) float32 {
	exponent := float32(2*i) / float32(headDim)
	return 1 / float32(math.Pow(theta, float64(exponent)))
}

// RoPEAngle returns cos and sin of pos·RoPEFreq, the product rounded to f32.
func RoPEAngle(theta float64, headDim, pos, i int) (cos, sin float32) {
	s, c := math.Sincos(float64(float32(pos) * RoPEFreq(theta, headDim, i)))
	return float32(c), float32(s)
}

// RoPE rotates the heads of x f32[S,H*headDim] by the positions pos i32[S].
func RoPE(x, pos graph.Value, theta float64, headDim int) graph.Value {
	return RoPEOp.One(RoPEAttrs{Theta: theta, HeadDim: headDim}, x, pos)
}
