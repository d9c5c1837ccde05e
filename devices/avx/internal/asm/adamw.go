package asm

import "math"

// AdamW is one step of decoupled weight decay Adam (Loshchilov & Hutter 2019,
// algorithm 2, without the schedule multiplier), in the order of operations of
// common implementations:
//
//	g = GradScale·g
//	p = p·(1 - LR·WeightDecay)
//	m = Beta1·m + (1-Beta1)·g
//	v = Beta2·v + (1-Beta2)·g²
//	p = p - (LR/(1-Beta1^Step))·m / (sqrt(v)/sqrt(1-Beta2^Step) + Eps)
type AdamW struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	GradScale                          float64 // 1 unless gradients are clipped or averaged
	Step                               int     // counts from 1
}

// adamFactors are the per-step constants as the kernel uses them. The assembly
// reads them by position.
type adamFactors struct {
	grad, decay, beta1, mix1, beta2, mix2, invRoot, eps, rate float32
}

func (a AdamW) factors() adamFactors {
	c1 := 1 - math.Pow(a.Beta1, float64(a.Step))
	c2 := 1 - math.Pow(a.Beta2, float64(a.Step))
	return adamFactors{
		grad: float32(a.GradScale), decay: float32(1 - a.LR*a.WeightDecay),
		beta1: float32(a.Beta1), mix1: float32(1 - a.Beta1),
		beta2: float32(a.Beta2), mix2: float32(1 - a.Beta2),
		invRoot: float32(1 / math.Sqrt(c2)), eps: float32(a.Eps), rate: float32(a.LR / c1),
	}
}

// AdamW updates the parameters p and the moments m and v from the gradient g,
// all of the length of p. The bits are the same on every ISA.
func (isa ISA) AdamW(p, g, m, v []float32, step AdamW) {
	isa.adamW(p, g, m, v, step.factors())
}

func (isa ISA) adamW(p, g, m, v []float32, f adamFactors) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	n := isa.vectors(len(p))
	if n > 0 {
		adamWAVX2(&p[0], &g[0], &m[0], &v[0], n, &f.grad)
	}
	for i := 8 * n; i < len(p); i++ {
		gi := g[i] * f.grad
		m[i] = float32(m[i]*f.beta1) + float32(gi*f.mix1)
		v[i] = float32(v[i]*f.beta2) + float32(float32(gi*gi)*f.mix2)
		den := float32(float32(math.Sqrt(float64(v[i])))*f.invRoot) + f.eps
		p[i] = float32(p[i]*f.decay) - float32(float32(m[i]*f.rate)/den)
	}
}
