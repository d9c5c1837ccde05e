package checkpoint

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// weightEps bounds the mean from below, as in the reference quantiser.
const weightEps = 1e-5

// Absmean makes w ternary as BitNet b1.58 defines it: s = 1/max(mean|W|, 1e-5)
// in float32, codes[i] = clamp(round(w[i]·s), -1, 1) with halves to even, and
// gamma = 1/s, so that codes·gamma approximates w. The mean is summed in
// float64 and rounded once. codes must be as long as w, which must be float
// and finite.
func Absmean(w graph.Tensor, codes []int8) (gamma float32, err error) {
	if w.Len() != len(codes) || len(codes) == 0 {
		return 0, fmt.Errorf("absmean: %v%v into %d codes", w.Elem, w.Dims, len(codes))
	}
	// Widening a part at a time keeps a half-precision tensor's f32 copy small.
	const part = 1 << 14
	buf := make([]float32, min(part, len(codes)))
	var sum float64
	for at := 0; at < len(codes); at += part {
		vals, err := widen(w, at, min(part, len(codes)-at), buf)
		if err != nil {
			return 0, fmt.Errorf("absmean: %w", err)
		}
		for _, v := range vals {
			sum += math.Abs(float64(v))
		}
	}
	mean := float32(sum / float64(len(codes)))
	if math.IsNaN(sum) || math.IsInf(float64(mean), 0) {
		return 0, fmt.Errorf("absmean: weights are not finite")
	}
	s := 1 / max(mean, weightEps)
	for at := 0; at < len(codes); at += part {
		vals, _ := widen(w, at, min(part, len(codes)-at), buf)
		for i, v := range vals {
			codes[at+i] = ternary(float32(v * s))
		}
	}
	return 1 / s, nil
}

// ternary rounds half to even and clamps: 0.5 goes to 0, anything above to 1.
func ternary(v float32) int8 {
	switch {
	case v > 0.5:
		return 1
	case v < -0.5:
		return -1
	}
	return 0
}

// widen returns elements [at, at+n) of a float tensor as f32, in place where
// they are f32 already and in buf otherwise.
func widen(t graph.Tensor, at, n int, buf []float32) ([]float32, error) {
	switch t.Elem {
	case graph.F32:
		return t.F32()[at : at+n], nil
	case graph.BF16:
		for i, h := range t.U16()[at : at+n] {
			buf[i] = graph.BF16ToF32(h)
		}
	case graph.F16:
		for i, h := range t.U16()[at : at+n] {
			buf[i] = graph.F16ToF32(h)
		}
	case graph.F64:
		for i, v := range t.F64()[at : at+n] {
			buf[i] = float32(v)
		}
	default:
		return nil, fmt.Errorf("%v is not a float type", t.Elem)
	}
	return buf[:n], nil
}

// Narrow returns t as elem if every value survives exactly, and false if one
// does not. Widening always succeeds. Only F32, F16 and BF16 are converted to.
func Narrow(t graph.Tensor, elem graph.DType) (graph.Tensor, bool) {
	if t.Elem == elem {
		return t, true
	}
	if !t.Elem.IsFloat() || elem != graph.F32 && elem != graph.F16 && elem != graph.BF16 {
		return t, false
	}
	out := graph.NewTensor(elem, t.Dims...)
	exact := convert(out, t)
	if !exact {
		return t, false
	}
	return out, true
}

// Round returns t as elem, rounding to nearest where a value does not fit.
func Round(t graph.Tensor, elem graph.DType) graph.Tensor {
	if t.Elem == elem {
		return t
	}
	out := graph.NewTensor(elem, t.Dims...)
	convert(out, t)
	return out
}

// convert fills dst with src's values and reports whether all are unchanged,
// NaN counting as unchanged if it stays NaN.
func convert(dst, src graph.Tensor) bool {
	exact := true
	n := src.Len()
	same := func(a, b float64) bool { return a == b || a != a && b != b }
	for i := range n {
		v := src.FloatAt(i)
		switch dst.Elem {
		case graph.F32:
			dst.F32()[i] = float32(v)
		case graph.F16:
			dst.U16()[i] = graph.F32ToF16(float32(v))
		case graph.BF16:
			dst.U16()[i] = graph.F32ToBF16(float32(v))
		}
		exact = exact && same(v, dst.FloatAt(i))
	}
	return exact
}
