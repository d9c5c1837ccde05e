package asm

// AdamWFactors are the constants of one AdamW step, for callers that have them
// at hand; see AdamW for the order of operations.
type AdamWFactors struct {
	Grad, Decay  float32 // factor of the gradient; 1 - LR·WeightDecay
	Beta1, Mix1  float32 // β1 and 1-β1
	Beta2, Mix2  float32
	InvRoot, Eps float32 // 1/√(1-β2^t)
	Rate         float32 // LR/(1-β1^t)
}

// AdamWWith is AdamW with the step's constants given.
func (isa ISA) AdamWWith(p, g, m, v []float32, f AdamWFactors) {
	isa.adamW(p, g, m, v, adamFactors{f.Grad, f.Decay, f.Beta1, f.Mix1, f.Beta2, f.Mix2, f.InvRoot, f.Eps, f.Rate})
}
