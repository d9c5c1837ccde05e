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
