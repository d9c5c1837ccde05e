package checkpoint

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/absmean"
)

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
	var mean absmean.Mean
	for at := 0; at < len(codes); at += part {
		vals, err := widen(w, at, min(part, len(codes)-at), buf)
		if err != nil {
			return 0, fmt.Errorf("absmean: %w", err)
		}
		mean.Add(vals)
	}
	if !mean.Finite() {
		return 0, fmt.Errorf("absmean: weights are not finite")
	}
	s := mean.Inverse()
	for at := 0; at < len(codes); at += part {
		vals, _ := widen(w, at, min(part, len(codes)-at), buf)
		for i, v := range vals {
			codes[at+i] = absmean.Code(v, s)
		}
	}
	return 1 / s, nil
}
