package conformance

import (
	"bytes"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// compare reports how got differs from want by more than the tolerance allows.
func compare(got, want graph.Tensor, tol Tolerance) error {
	if want.Elem.IsFloat() {
		return compareFloats(got, want, tol)
	}
	if bytes.Equal(got.Data, want.Data) {
		return nil
	}
	off, first := 0, -1
	for i := range want.Len() {
		g, w := integer(got, i), integer(want, i)
		if g == w {
			continue
		}
		if d := g - w; tol.Codes == 0 || d > 1 || d < -1 {
			return fmt.Errorf("element %d is %d, want %d", i, g, w)
		}
		if off++; first < 0 {
			first = i
		}
	}
	if limit := 2 + int(tol.Codes*float64(want.Len())); off > limit {
		return fmt.Errorf("%d of %d elements are off by one, from element %d on; at most %d may be", off, want.Len(), first, limit)
	}
	return nil
}

func integer(t graph.Tensor, i int) int64 {
	switch t.Elem {
	case graph.I8, graph.Tern:
		return int64(t.I8()[i])
	case graph.I32:
		return int64(t.I32()[i])
	case graph.I64:
		return t.I64()[i]
	}
	return int64(t.Data[i])
}

func compareFloats(got, want graph.Tensor, tol Tolerance) error {
	scale := 0.0
	for i := range want.Len() {
		if w := math.Abs(want.FloatAt(i)); w > scale && !math.IsInf(w, 0) {
			scale = w
		}
	}
	worst, at := 0.0, -1
	for i := range want.Len() {
		g, w := got.FloatAt(i), want.FloatAt(i)
		if g == w || g != g && w != w {
			continue
		}
		allowed := max(tol.Abs+tol.Rel*scale, tol.Each*math.Abs(w))
		if want.Elem == graph.BF16 && tol != (Tolerance{}) {
			allowed += 0x1p-7*math.Abs(w) + tol.Narrow*scale // the next value, beside a rounding tie
		}
		if d := math.Abs(g - w); !(d <= allowed) && !(d/allowed <= worst) {
			worst, at = d/allowed, i
		}
	}
	if at >= 0 {
		return fmt.Errorf("element %d is %v, want %v (%.3g times the tolerance)", at, got.FloatAt(at), want.FloatAt(at), worst)
	}
	return nil
}
