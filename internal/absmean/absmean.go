// Package absmean is the arithmetic of BitNet b1.58's weight quantizer (Ma et al.
// 2024, "The Era of 1-bit LLMs"), the one place for the op that quantizes in a
// graph and for the reader of checkpoints that quantizes a file's masters.
package absmean

import "math"

// Eps is the smallest mean, applied before the inverse.
const Eps = 1e-5

// Mean collects Σ|w| over the parts of a matrix, in float64.
type Mean struct {
	sum float64
	n   int
}

// Add counts the weights of one part.
func (m *Mean) Add(w []float32) {
	for _, v := range w {
		m.sum += math.Abs(float64(v))
	}
	m.n += len(w)
}

// Finite reports whether the mean is a finite f32.
func (m *Mean) Finite() bool {
	v := float64(m.value())
	return !math.IsNaN(v) && !math.IsInf(v, 0)
}

func (m *Mean) value() float32 { return float32(m.sum / float64(max(m.n, 1))) }

// Inverse is s = 1/max(mean|w|, Eps) in f32, the factor that brings weights to
// the ternary grid; 1/s is the scale γ.
func (m *Mean) Inverse() float32 { return 1 / max(m.value(), Eps) }

// Code is clamp(round(w·s), −1, 1), half to even.
func Code(w, s float32) int8 {
	switch p := w * s; {
	case p > 0.5:
		return 1
	case p < -0.5:
		return -1
	}
	return 0 // 0.5 itself rounds to the even 0; NaN has no code
}
