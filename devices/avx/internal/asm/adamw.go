package asm

import "math"

// AdamW holds the constants of one step t of Adam with decoupled weight decay
// (Loshchilov & Hutter 2019, algorithm 2), in the order of operations that
// [ISA.AdamW] follows. The assembly reads them by position.
type AdamW struct {
	Grad, Decay  float32 // factor of the gradient; 1 - LR·WeightDecay
	Beta1, Mix1  float32 // β1 and 1-β1
	Beta2, Mix2  float32 // β2 and 1-β2
	InvRoot, Eps float32 // 1/√(1-β2^t); ε
	Rate         float32 // LR/(1-β1^t)
}

// AdamW updates the parameters p and the moments m and v from the gradient g,
// all of the length of p:
//
//	g = Grad·g
//	m = Beta1·m + Mix1·g
//	v = Beta2·v + Mix2·g²
//	p = Decay·p - Rate·m / (InvRoot·√v + Eps)
//
// every operation rounded once, so the bits are the same on every ISA. g is only
// read.
func (isa ISA) AdamW(p, g, m, v []float32, f AdamW) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	n := isa.vectors(len(p))
	if n > 0 {
		adamWAVX2(&p[0], &g[0], &m[0], &v[0], n, &f.Grad)
	}
	for i := 8 * n; i < len(p); i++ {
		gi := g[i] * f.Grad
		m[i] = float32(m[i]*f.Beta1) + float32(gi*f.Mix1)
		v[i] = float32(v[i]*f.Beta2) + float32(float32(gi*gi)*f.Mix2)
		den := float32(float32(math.Sqrt(float64(v[i])))*f.InvRoot) + f.Eps
		p[i] = float32(p[i]*f.Decay) - float32(float32(m[i]*f.Rate)/den)
	}
}
