package checkpoint

import (
	"bytes"
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// part is how many values are widened at a time, which keeps the f32 copy of a
// half-precision tensor in the cache.
const part = 1 << 12

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
	out := Round(t, elem)
	return out, equalValues(out, t)
}

// Round returns a float tensor as F32, F16 or BF16, rounding to nearest where a
// value does not fit.
func Round(t graph.Tensor, elem graph.DType) graph.Tensor {
	if t.Elem == elem {
		return t
	}
	out := graph.NewTensor(elem, t.Dims...)
	buf := make([]float32, min(part, t.Len()))
	for at := 0; at < t.Len(); at += part {
		vals, err := widen(t, at, min(part, t.Len()-at), buf)
		if err != nil {
			return graph.Tensor{Elem: elem, Dims: []int{0}, Data: []byte{}}
		}
		switch elem {
		case graph.F32:
			copy(out.F32()[at:], vals)
		case graph.F16:
			dst := out.U16()[at:]
			for i, v := range vals {
				dst[i] = graph.F32ToF16(v)
			}
		case graph.BF16:
			dst := out.U16()[at:]
			for i, v := range vals {
				dst[i] = graph.F32ToBF16(v)
			}
		}
	}
	return out
}

// equalValues reports whether two float tensors hold the same numbers, whatever
// their types; NaN equals NaN.
func equalValues(a, b graph.Tensor) bool { return firstDifference(a, b) < 0 }

// firstDifference is the index of the first element whose value differs, -1 if
// none does.
func firstDifference(a, b graph.Tensor) int {
	if a.Elem == b.Elem && bytes.Equal(a.Data, b.Data) {
		return -1
	}
	if a.Elem == graph.F64 || b.Elem == graph.F64 {
		for i := range a.Len() {
			if x, y := a.FloatAt(i), b.FloatAt(i); x != y && (x == x || y == y) {
				return i
			}
		}
		return -1
	}
	var bufA, bufB [part]float32
	for at := 0; at < a.Len(); at += part {
		n := min(part, a.Len()-at)
		x, errX := widen(a, at, n, bufA[:])
		y, errY := widen(b, at, n, bufB[:])
		if errX != nil || errY != nil {
			return at
		}
		for i, v := range x {
			if w := y[i]; v != w && (v == v || w == w) {
				return at + i
			}
		}
	}
	return -1
}

// canRound refuses a type that does not hold every value of t, unless rounding
// is allowed.
func canRound(t graph.Tensor, elem graph.DType, rounding bool) error {
	if rounding || t.Elem == elem || elem == graph.F32 && (t.Elem == graph.F16 || t.Elem == graph.BF16) {
		return nil
	}
	if _, exact := Narrow(t, elem); !exact {
		return fmt.Errorf("%v does not hold all its values exactly; keep %v or allow rounding", elem, t.Elem)
	}
	return nil
}
