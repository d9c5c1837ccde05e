package ops

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// SoftmaxOp normalises the exponentials of each row.
var SoftmaxOp = graph.Define(graph.Def[graph.None]{
	Name: "softmax", Doc: "y = exp(x) / Σ exp(x), per row", In: "x", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{0},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return one(in[0]), Check(in, F32("x", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		d := in[0].Row()
		x, y := in[0].F32(), out[0].F32()
		for o := 0; o < len(x); o += d {
			l := logSumExp(x[o : o+d])
			for j := o; j < o+d; j++ {
				y[j] = float32(math.Exp(float64(x[j]) - l))
			}
		}
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		return SoftmaxGradOp.Emit(graph.None{}, c.Out[0], c.DOut[0]), nil
	},
})

// Softmax returns the softmax of each row of x.
func Softmax(x graph.Value) graph.Value { return SoftmaxOp.One(graph.None{}, x) }

// SoftmaxGradOp is dx = y ⊙ (dy − Σ dy·y), per row.
var SoftmaxGradOp = graph.Define(graph.Def[graph.None]{
	Name: "softmax.grad", Doc: "gradient of softmax", In: "y, dy", Out: "dx",
	BF16: "y, dy -> dx",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("y", -1), F32("dy", -1)); err != nil {
			return nil, err
		}
		return one(in[0]), Same("y", in[0], "dy", in[1])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		d := in[0].Row()
		y, dy, dx := in[0].F32(), in[1].F32(), out[0].F32()
		for o := 0; o < len(y); o += d {
			var dot float64
			for j := o; j < o+d; j++ {
				dot += float64(y[j]) * float64(dy[j])
			}
			for j := o; j < o+d; j++ {
				dx[j] = float32(float64(y[j]) * (float64(dy[j]) - dot))
			}
		}
		return nil
	},
})

// logSumExp is log Σ exp(x), stable.
func logSumExp(x []float32) float64 {
	most := math.Inf(-1)
	for _, v := range x {
		most = max(most, float64(v))
	}
	if math.IsInf(most, 0) {
		return most
	}
	var s float64
	for _, v := range x {
		s += math.Exp(float64(v) - most)
	}
	return most + math.Log(s)
}
