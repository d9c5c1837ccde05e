package train

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train/data"
)

// Plan compiles the step of a run without its texts and weights, and returns
// what it would hold in memory on this rank and what the budget led to.
// programs, if not nil, is called with each program. A tokenizer that the run
// would learn is taken to have all the tokens it may.
func Plan(cfg Config, programs func(*runtime.Program) error) (Memory, Recomputation, error) {
	fail := func(err error) (Memory, Recomputation, error) {
		return Memory{}, Recomputation{}, fmt.Errorf("train: plan: %w", err)
	}
	if cfg.Device == nil {
		return fail(errors.New("no device is given"))
	}
	if err := cfg.shape(); err != nil {
		return fail(err)
	}
	var bad []error
	cfg.Scale.validate(cfg.Rows, func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) })
	if err := errors.Join(bad...); err != nil {
		return fail(err)
	}
	switch {
	case cfg.Declare != nil:
	case cfg.From != "":
		m, err := checkpoint.Open(cfg.From)
		if err != nil {
			return fail(err)
		}
		cfg.Model = m.Config()
		if err := m.Close(); err != nil {
			return fail(err)
		}
	default:
		vocab, err := cfg.vocab()
		if err != nil {
			return fail(err)
		}
		cfg.Model.Vocab = vocab
	}
	cfg.Model.Elem, cfg.Model.Form = graph.F32, checkpoint.Masters
	loss, err := Loss(cfg.declare(), cfg.Rows*cfg.Window)
	if err != nil {
		return fail(err)
	}
	return PlanStep(loss, cfg.Recipe, cfg.Device, cfg.Rows*cfg.Window, programs)
}

// vocab is the number of tokens of the tokenizer, or the most it may learn.
func (c *Config) vocab() (int, error) {
	switch c.Tokenizer.Kind {
	case BPE:
		return c.Tokenizer.Vocab, nil
	case File:
		tok, err := tokenizer.Load(c.Tokenizer.Path)
		if err != nil {
			return 0, err
		}
		return tok.VocabSize(), nil
	}
	tok, err := tokenizer.NewBytes(data.Separator)
	if err != nil {
		return 0, err
	}
	return tok.VocabSize(), nil
}

// PlanStep is Plan for a loss, in batches of exactly tokens tokens.
func PlanStep(loss *graph.Graph, r Recipe, dev devices.Device, tokens int, programs func(*runtime.Program) error) (Memory, Recomputation, error) {
	dev, err := r.Scale.join(dev)
	if err != nil {
		return Memory{}, Recomputation{}, err
	}
	c, err := compile(Objective{Step: loss}, r, dev, tokens/r.Scale.parts())
	if err != nil {
		return Memory{}, Recomputation{}, err
	}
	m, err := c.memory()
	if programs != nil {
		for _, p := range []*runtime.Program{c.step, c.update} {
			if p != nil && err == nil {
				err = programs(p)
			}
		}
	}
	return m, c.Recomputation, errors.Join(err, c.close())
}
