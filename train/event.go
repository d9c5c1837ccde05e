package train

import (
	"fmt"
	"time"
)

// Kind says what an event reports.
type Kind uint8

const (
	// Preparing: Message names what is being done; Done of Total, if Total is
	// not 0.
	Preparing Kind = iota
	// Stepped: one step is done; Loss and the fields beside it are its own.
	Stepped
	// Scored: Valid is a validation result.
	Scored
	// Measured: Weights tells how the ternary codes are after this step.
	Measured
	// Saved: Path is a new checkpoint.
	Saved
	// Warned: Message deserves attention, and training goes on.
	Warned
)

// Event is something worth showing. Fields that a kind does not mention are
// zero.
type Event struct {
	Kind    Kind
	Message string
	Done    int64
	Total   int64

	Step, Steps     int     // steps done, and in all
	Epoch           float64 // passes over the training text, of which the last is a share
	Tokens          int64   // of training text, from the first step on
	Loss            float64 // nats per token
	BitsPerByte     float64
	Objective       float64 // what is lowered: Loss, or with a teacher a weighed sum
	GradNorm        float64 // before clipping
	LR, Decay       float64
	TokensPerSecond float64       // since the run began or was resumed, without validation and saving
	Remaining       time.Duration // at that pace
	Elapsed         time.Duration // since Run was called

	Valid   Validated
	Best    bool // Valid is the best so far
	Path    string
	Weights []WeightStats // one for each ternary matrix
}

// String is one line of plain text.
func (e Event) String() string {
	switch e.Kind {
	case Preparing:
		if e.Total > 0 {
			return fmt.Sprintf("%s: %d of %d", e.Message, e.Done, e.Total)
		}
		return e.Message
	case Stepped:
		objective := ""
		if e.Objective != e.Loss {
			objective = fmt.Sprintf("objective %.4f  ", e.Objective)
		}
		return fmt.Sprintf("step %d/%d  loss %.4f  %s%.4f bits/byte  lr %.2e  norm %.2f  %.0f tokens/s  %s left",
			e.Step, e.Steps, e.Loss, objective, e.BitsPerByte, e.LR, e.GradNorm, e.TokensPerSecond, e.Remaining.Round(time.Second))
	case Scored:
		mark := ""
		if e.Best {
			mark = ", the best so far"
		}
		return fmt.Sprintf("validation after step %d: loss %.4f, %.4f bits/byte%s", e.Step, e.Valid.Loss, e.Valid.BitsPerByte, mark)
	case Measured:
		t := Total(e.Weights)
		return fmt.Sprintf("codes after step %d: −1 %.1f %%, 0 %.1f %%, +1 %.1f %%; flipped %.3f %%, scale %+.1f %%, near a threshold %.1f %%%s",
			e.Step, 100*t.Minus, 100*t.Zero, 100*t.Plus, 100*t.FlipRate, 100*t.Drift, 100*t.Boundary, dead(t))
	case Saved:
		return "saved " + e.Path
	}
	return "warning: " + e.Message
}

// dead is the end of a line on weights, once there are enough measurements.
func dead(t WeightStats) string {
	if t.Dead != t.Dead {
		return ""
	}
	return fmt.Sprintf(", dead %.1f %%", 100*t.Dead)
}
