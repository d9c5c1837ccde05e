package train

import "github.com/trit-ml/trit/passes"

// Dropout sets activations to zero at random while training: results of the
// embedding and of the projections that write into the residual stream, and
// attention probabilities: GPT-2's places. The numbers follow from Seed, the step and
// the place of a token in the batch, so that runs resume bit for bit, and
// micro-batches and ranks drop what one large batch does.
type Dropout struct {
	P     float64  `json:"p" flag:"dropout" help:"Share of activations dropped, where a text is small for the model; 0: none."`
	After []string `json:"after" flag:"dropout-after" help:"Name endings of the weights behind which they are dropped, beside the embedding."`
	// Attention is false in runs that were begun before it existed.
	Attention bool `json:"attention" flag:"dropout-attention" help:"Drop attention probabilities too, each with p; --dropout-attention=false does not."`
	// Seed is the run's.
	Seed uint64 `json:"-"`
}

func (d *Dropout) options() passes.DropoutOptions {
	return passes.DropoutOptions{P: d.P, Seed: d.Seed, After: d.After, Attention: d.Attention}
}

func (d *Dropout) validate(bad func(format string, args ...any)) {
	if !(d.P >= 0 && d.P < 1) {
		bad("dropout p is %v, want 0 to below 1", d.P)
	}
}
