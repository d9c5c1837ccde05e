package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// QuantAttrs describes the activation quantizer. Bits is 8 or 4; Round is
// "even", half to even as the published checkpoints expect.
type QuantAttrs struct {
	Bits  int
	Round string
}

// Int8 is the quantizer of BitNet b1.58.
var Int8 = QuantAttrs{Bits: 8, Round: "even"}

// ActEps is the smallest absmax, so that a row of zeros has a finite scale.
const ActEps = 1e-5

// QMax is the largest code: 127 for 8 bits, 7 for 4.
func (a QuantAttrs) QMax() float32 { return float32(int(1)<<(a.Bits-1) - 1) }

func (a QuantAttrs) check() error {
	if a.Bits != 8 && a.Bits != 4 {
		return fmt.Errorf("bits is %d, want 8 or 4", a.Bits)
	}
	if a.Round != "even" {
		return fmt.Errorf("round is %q, want even", a.Round)
	}
	return nil
}

// Scale returns a row's scale qmax/max(absmax, ActEps).
func (a QuantAttrs) Scale(row []float32) float32 {
	most := float32(0)
	for _, v := range row {
		most = max(most, float32(math.Abs(float64(v))))
	}
	return a.ScaleOf(most)
}

// ScaleOf is Scale of a row with the given largest absolute value. It rounds
// twice, reciprocal first: so the published models compute it (PyTorch divides a
// number by a tensor that way), and a code can hang on the last bit.
func (a QuantAttrs) ScaleOf(absmax float32) float32 {
	inverse := 1 / max(absmax, ActEps)
	return inverse * a.QMax()
}

// Code returns the integer code of x under scale s.
func (a QuantAttrs) Code(x, s float32) float32 {
	q := float32(math.RoundToEven(float64(x * s)))
	return min(max(q, -a.QMax()-1), a.QMax())
}

// Row quantizes one row into q and returns its scale.
func (a QuantAttrs) Row(q []int8, x []float32) float32 {
	s := a.Scale(x)
	for i, v := range x {
		if c := a.Code(v, s); c == c {
			q[i] = int8(c)
		} else {
			q[i] = 0 // Go leaves the conversion of NaN open
		}
	}
	return s
}

// FakeRow writes what one row's codes stand for.
func (a QuantAttrs) FakeRow(y, x []float32) {
	s := a.Scale(x)
	for i, v := range x {
		y[i] = a.Code(v, s) / s
	}
}

// QuantActOp quantizes each row to integers by its largest absolute value. The
// second result is the scale s: codes divided by s approximate x.
var QuantActOp = graph.Define(graph.Def[QuantAttrs]{
	Name: "quant.act", Doc: "absmax quantization per token", In: "x", Out: "q, s",
	BF16:    "x ->",
	Rowwise: []int{0},
	Infer: func(a QuantAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", 2)); err != nil {
			return nil, err
		}
		return []graph.Type{graph.T(graph.I8, in[0].Shape...), graph.T(graph.F32, in[0].Shape[0], graph.C(1))}, a.check()
	},
	Ref: func(a QuantAttrs, in, out []graph.Tensor) error {
		d := in[0].Dims[1]
		x, q := in[0].F32(), out[0].I8()
		for i := range in[0].Dims[0] {
			out[1].F32()[i] = a.Row(q[i*d:(i+1)*d], x[i*d:(i+1)*d])
		}
		return nil
	},
})

// QuantAct returns the codes i8[S,K] and scales f32[S,1] of x f32[S,K].
func QuantAct(x graph.Value, a QuantAttrs) (q, s graph.Value) {
	out := QuantActOp.Emit(a, x)
	return out[0], out[1]
}

// FakeQuantOp is quantization followed by dequantization, in floats. Its
// gradient is the identity (straight-through estimator, Bengio et al. 2013).
var FakeQuantOp = graph.Define(graph.Def[QuantAttrs]{
	Name: "quant.fake", Doc: "absmax quantization per token, dequantized", In: "x", Out: "y",
	BF16:    "x -> y",
	Phases:  graph.Declared | graph.Training,
	Rowwise: []int{0},
	Infer: func(a QuantAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("x", 2)); err != nil {
			return nil, err
		}
		return one(in[0]), a.check()
	},
	Ref: func(a QuantAttrs, in, out []graph.Tensor) error {
		d := in[0].Dims[1]
		x, y := in[0].F32(), out[0].F32()
		for i := range in[0].Dims[0] {
			a.FakeRow(y[i*d:(i+1)*d], x[i*d:(i+1)*d])
		}
		return nil
	},
	Grad: func(_ QuantAttrs, c *graph.GradCtx) ([]graph.Value, error) { return c.DOut, nil },
})

// FakeQuant returns x rounded to the quantizer's grid, with straight-through
// gradient.
func FakeQuant(x graph.Value, a QuantAttrs) graph.Value { return FakeQuantOp.One(a, x) }
