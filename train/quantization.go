package train

import "math"

// The ways in which quantization sets in.
const (
	WarmupNone        = "none"        // whole from the first step
	WarmupLinear      = "linear"      // λ = t
	WarmupExponential = "exponential" // λ = 1 − (1−t)ᵏ: fast, then levelling off
	WarmupSigmoid     = "sigmoid"     // λ = 1/(1 + e^(−k(t−½))): slow, fast, slow
)

// Quantization configures quantization-aware training.
//
// A model that was trained without quantization loses most of what it knows when
// quantization comes at once. With a warmup every quantizer computes
// x + λ·(quant(x) − x), with λ rising from 0 to 1 over WarmupSteps steps, t the
// share of them that is done (Mekkouri et al. 2024, "Fine-tuning LLMs to
// 1.58bit"). Validation always measures the whole quantization, λ = 1.
type Quantization struct {
	Warmup      string  `json:"warmup" flag:"quant-warmup" help:"How quantization sets in: none (whole from the first step), linear, exponential or sigmoid." source:"Mekkouri et al. 2024"`
	WarmupSteps int     `json:"warmup_steps" flag:"quant-warmup-steps" help:"Steps until it is whole." source:"Mekkouri et al. 2024"`
	WarmupK     float64 `json:"warmup_k" flag:"quant-warmup-k" help:"Steepness of exponential and sigmoid; 0: 4 and 20." source:"Mekkouri et al. 2024"`
}

// warms reports whether λ is an input of the step.
func (q *Quantization) warms() bool { return q.Warmup != WarmupNone && q.Warmup != "" }

// Lambda is how far quantization has set in at a step, counted from 0.
func (q *Quantization) Lambda(step int) float64 {
	if !q.warms() || step >= q.WarmupSteps {
		return 1
	}
	t, k := float64(step)/float64(q.WarmupSteps), q.WarmupK
	switch q.Warmup {
	case WarmupExponential:
		if k == 0 {
			k = 4
		}
		return 1 - math.Pow(1-t, k)
	case WarmupSigmoid:
		if k == 0 {
			k = 20
		}
		return 1 / (1 + math.Exp(-k*(t-0.5)))
	}
	return t
}

func (q *Quantization) validate(plain bool, bad func(format string, args ...any)) {
	switch q.Warmup {
	case "", WarmupNone:
		return
	case WarmupLinear, WarmupExponential, WarmupSigmoid:
	default:
		bad("quantization warmup %q, want %q, %q, %q or %q", q.Warmup, WarmupNone, WarmupLinear, WarmupExponential, WarmupSigmoid)
	}
	if plain {
		bad("quantization warmup %q of a run without quantization: set plain or the warmup, not both", q.Warmup)
	}
	if q.WarmupSteps < 1 || q.WarmupSteps > 1<<30 {
		bad("quantization warmup takes %d steps, want 1 to %d", q.WarmupSteps, 1<<30)
	}
	if !(q.WarmupK >= 0 && q.WarmupK <= 1000) {
		bad("quantization warmup k is %v, want 0 to 1000", q.WarmupK)
	}
}
