package train

import (
	"math"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/ops/ternary"
)

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
	// ActBits, Group and Norm belong to the model, and are in its config.json.
	ActBits int  `json:"act_bits" flag:"act-bits" help:"Bits of a projection's quantized input, 8 or 4; 0: those of from, or 8." source:"Ma et al. 2024; 4 bits: Wang et al. 2024, BitNet a4.8"`
	Group   int  `json:"group" flag:"group" help:"Weights along a row that share a scale; it divides every width; 0: as in from, or one scale for a matrix, the only kind that packed files hold."`
	Norm    bool `json:"norm" flag:"proj-norm" help:"An RMSNorm of its own before each projection." source:"Wang et al. 2023, BitNet"`

	Warmup      string  `json:"warmup" flag:"quant-warmup" help:"How quantization sets in: none (whole from the first step), linear, exponential or sigmoid." source:"Mekkouri et al. 2024"`
	WarmupSteps int     `json:"warmup_steps" flag:"quant-warmup-steps" help:"Steps until it is whole." source:"Mekkouri et al. 2024"`
	Forward     string  `json:"forward" flag:"forward" help:"How the quantized layers are computed: integer (exact products of codes, as in inference), float (fake quantization), or auto: integer where the device has the kernels."`
	WarmupK     float64 `json:"warmup_k" flag:"quant-warmup-k" help:"Steepness of exponential and sigmoid; 0: 4 and 20." source:"Mekkouri et al. 2024"`
}

// of sets what belongs to the model.
func (q *Quantization) of(m *checkpoint.Config) {
	if q.ActBits != 0 {
		m.ActBits = q.ActBits
	}
	if q.Group != 0 {
		m.Group = q.Group
	}
	m.ProjNorm = m.ProjNorm || q.Norm
}

// model is the part that belongs to the model.
func (q *Quantization) model() Quantization {
	return Quantization{ActBits: q.ActBits, Group: q.Group, Norm: q.Norm}
}

// How the forward pass multiplies; see passes.IntegerForward.
const (
	ForwardAuto    = "auto"
	ForwardInteger = "integer"
	ForwardFloat   = "float"
)

// forwardOn settles auto for a device: integer if it has a kernel of its own for
// the product of codes with weights that change from step to step.
func (q *Quantization) forwardOn(dev devices.Device) string {
	if q.Forward != ForwardAuto && q.Forward != "" {
		return q.Forward
	}
	for _, k := range dev.Kernels() {
		if k.Op == ternary.MatMulOp.OpDef && len(k.Layouts) == 0 && !slices.ContainsFunc(k.Needs, func(f devices.Feature) bool { return !dev.Has(f) }) {
			return ForwardInteger
		}
	}
	return ForwardFloat
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
	if q.ActBits != 0 && q.ActBits != 8 && q.ActBits != 4 {
		bad("act_bits is %d, want 8 or 4, or 0 for the model's own", q.ActBits)
	}
	if q.Group < 0 {
		bad("group is %d, want the number of weights that share a scale, or 0", q.Group)
	}
	if plain && q.Norm {
		bad("norm of a run without quantization: the norms inside projections are part of a quantized model's config.json; leave one of plain and norm out")
	}
	switch q.Forward {
	case "", ForwardAuto, ForwardInteger, ForwardFloat:
	default:
		bad("quantization forward %q, want %q, %q or %q", q.Forward, ForwardAuto, ForwardInteger, ForwardFloat)
	}
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
