package train

import (
	"math"

	"github.com/trit-ml/trit/graph"
)

// The kinds of schedule.
const (
	// BitNet is the published recipe for ternary training (Ma et al. 2024,
	// "The Era of 1-bit LLMs: Training Tips, Code and FAQ"): a high peak that
	// falls linearly towards 0 at the last step; from Switch on a lower peak
	// falls along the same line, and weight decay stops. The high rate lets
	// weights cross the quantizer's thresholds, the low one lets them settle.
	BitNet = "bitnet"
	// Cosine falls from the peak to Floor·peak at the last step.
	Cosine = "cosine"
	// Constant stays at the peak.
	Constant = "constant"
)

// Schedule gives the learning rate and the weight decay of each step.
type Schedule struct {
	Kind   string  `json:"kind" flag:"schedule" help:"bitnet (two stages), cosine or constant." source:"Ma et al. 2024, Training Tips"`
	Peak   float64 `json:"peak" flag:"lr" help:"Peak learning rate." source:"Ma et al. 2024, Training Tips"`
	Warmup int     `json:"warmup" flag:"warmup" help:"Steps of a linear rise from 0." source:"Ma et al. 2024, Training Tips"`
	Floor  float64 `json:"floor" flag:"floor" help:"cosine: last rate as a share of the peak."`

	// BitNet: the peak of the second stage, and the share of steps at which it
	// begins.
	SecondPeak float64 `json:"second_peak" flag:"second-lr" help:"bitnet: peak of the second stage; 0: 2/3 of the first." source:"Ma et al. 2024, Training Tips"`
	Switch     float64 `json:"switch" flag:"switch" help:"bitnet: share of the steps at which the second stage begins." source:"Ma et al. 2024, Training Tips"`

	// Decay is the weight decay; BitNet replaces it by SecondDecay in the
	// second stage.
	Decay       float64 `json:"decay" flag:"decay" help:"Weight decay." source:"Ma et al. 2024, Training Tips"`
	SecondDecay float64 `json:"second_decay" flag:"second-decay" help:"bitnet: weight decay of the second stage." source:"Ma et al. 2024, Training Tips"`
}

// secondShare is the second peak as a share of the first where none is given:
// that of the published recipe, such as 1e-3 after 1.5e-3 for 700 M parameters.
const secondShare = 2.0 / 3

// At returns the learning rate and the weight decay of a step, counted from 0,
// of a run of the given number of steps.
func (s *Schedule) At(step, steps int) (lr, decay float64) {
	done := float64(step) / float64(max(steps, 1))
	lr, decay = s.Peak, s.Decay
	switch s.Kind {
	case BitNet:
		if done >= s.Switch {
			lr, decay = s.SecondPeak, s.SecondDecay
			if lr == 0 {
				lr = secondShare * s.Peak
			}
		}
		lr *= 1 - done
	case Cosine:
		lr *= s.Floor + (1-s.Floor)*(1+math.Cos(math.Pi*done))/2
	}
	if step < s.Warmup {
		lr *= float64(step+1) / float64(s.Warmup+1)
	}
	return lr, decay
}

func (s *Schedule) validate(bad func(format string, args ...any)) {
	if s.Kind != BitNet && s.Kind != Cosine && s.Kind != Constant {
		bad("schedule kind %q, want %q, %q or %q", s.Kind, BitNet, Cosine, Constant)
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"peak", s.Peak}, {"second peak", s.SecondPeak}, {"decay", s.Decay}, {"second decay", s.SecondDecay}} {
		if !(f.v >= 0 && f.v < 10) {
			bad("schedule %s is %v, want 0 to 10", f.name, f.v)
		}
	}
	if s.Warmup < 0 {
		bad("schedule warmup is %d steps", s.Warmup)
	}
	if !(s.Floor >= 0 && s.Floor <= 1) || !(s.Switch >= 0 && s.Switch <= 1) {
		bad("schedule floor %v and switch %v must be in [0, 1]", s.Floor, s.Switch)
	}
}

// Optimizer configures AdamW.
type Optimizer struct {
	Beta1 float64 `json:"beta1" flag:"beta1" help:"Decay of the first moment." source:"Ma et al. 2024, Training Tips"`
	Beta2 float64 `json:"beta2" flag:"beta2" help:"Decay of the second moment." source:"Ma et al. 2024, Training Tips"`
	Eps   float64 `json:"eps" flag:"eps" help:"Added to the root of the second moment." source:"Kingma and Ba 2015"`
	Clip  float64 `json:"clip" flag:"clip" help:"Largest global gradient norm; 0 does not clip." source:"Pascanu et al. 2013"`
	// Decayed are the params of rank 2 and more, with DecayAll all params, but
	// for those whose names end in one of NoDecay.
	DecayAll bool     `json:"decay_all" flag:"decay-all" help:"Weight decay on vectors too, not on matrices alone."`
	NoDecay  []string `json:"no_decay,omitempty" flag:"no-decay" help:"Name endings of params without weight decay, such as embed_tokens.weight." placeholder:"END"`
	// EMA is the share of the old average that stays at each step; 0 keeps
	// none. The average is what is validated and saved as the model.
	EMA      float64  `json:"ema" flag:"ema" help:"Keep a moving average of the weights, with this share of the old one at each step, and validate and save that; 0: off." source:"Polyak and Juditsky 1992"`
	Schedule Schedule `json:"schedule" help:"Learning rate and weight decay of each step."`
}

func (o *Optimizer) validate(bad func(format string, args ...any)) {
	if !(o.Beta1 >= 0 && o.Beta1 < 1) || !(o.Beta2 >= 0 && o.Beta2 < 1) {
		bad("betas %v and %v must be in [0, 1)", o.Beta1, o.Beta2)
	}
	if !(o.Eps > 0) {
		bad("eps is %v, want above 0", o.Eps)
	}
	if !(o.Clip >= 0) {
		bad("clip is %v, want at least 0", o.Clip)
	}
	if !(o.EMA >= 0 && o.EMA < 1) {
		bad("ema is %v, want 0 to below 1, such as 0.999", o.EMA)
	}
	o.Schedule.validate(bad)
}

// decays reports whether the weights of a param decay.
func (o *Optimizer) decays(param string, t graph.Type) bool {
	return (o.DecayAll || t.Rank() > 1) && !endsInOneOf(param, o.NoDecay)
}

// hyper sets the step input of the optimizer pass for step t, counted from 0:
// rate, decay and the corrections for the moments' start at zero.
func (o *Optimizer) hyper(dst *[4]float32, t int, lr, decay float64) {
	n := float64(t + 1)
	dst[0], dst[1] = float32(lr), float32(decay)
	dst[2], dst[3] = float32(1-math.Pow(o.Beta1, n)), float32(math.Sqrt(1-math.Pow(o.Beta2, n)))
}
