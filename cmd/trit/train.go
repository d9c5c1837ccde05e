package main

import (
	"fmt"
	"os"

	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/train"
)

type trainCmd struct {
	Data    string   `help:"Folder of text files, or one file." placeholder:"PATH"`
	Out     string   `help:"Run folder; it opens as a model at any time." required:"" placeholder:"DIR"`
	Resume  bool     `help:"Continue the run in --out from its newest checkpoint."`
	Include []string `help:"Only files that match, such as '*.go'." placeholder:"GLOB"`
	Exclude []string `help:"Leave out files that match." placeholder:"GLOB"`
	Holdout float64  `help:"Share of files kept for validation." default:"0.05"`

	Preset    string `help:"Model size: ${presets}." default:"nano"`
	Hidden    int    `help:"Width, in place of the preset's."`
	FFN       int    `help:"Feed-forward width, in place of the preset's."`
	Layers    int    `help:"Layers, in place of the preset's."`
	Heads     int    `help:"Query heads, in place of the preset's."`
	KVHeads   int    `help:"Key/value heads, in place of the preset's."`
	Plain     bool   `help:"Train the unquantized twin."`
	From      string `help:"Start from a checkpoint with masters." placeholder:"PATH"`
	Tokenizer string `help:"bytes, bpe (learned from the text) or a tokenizer.json." default:"bpe"`
	Vocab     int    `help:"Tokens of a learned tokenizer." default:"512"`

	Steps    int     `help:"Steps in all; 1000 by default, a resumed run's own."`
	Rows     int     `help:"Windows in a batch." default:"8"`
	Window   int     `help:"Tokens in a window." default:"128"`
	LR       float64 `help:"Peak learning rate." default:"0.004"`
	Schedule string  `help:"bitnet (two stages), cosine or constant." default:"bitnet" enum:"bitnet,cosine,constant"`
	Warmup   int     `help:"Steps of rising learning rate." default:"50"`
	Decay    float64 `help:"Weight decay of matrices." default:"0.1"`
	Clip     float64 `help:"Largest gradient norm; 0 does not clip." default:"1"`
	Seed     uint64  `help:"Random seed." default:"1"`

	ValidateEvery   int `help:"Steps between validations." default:"250"`
	ValidateWindows int `help:"Most windows of a validation; 0: all." default:"128"`
	SaveEvery       int `help:"Steps between checkpoints." default:"250"`
	Keep            int `help:"Checkpoints to keep, beside the best." default:"2"`
	LogEvery        int `help:"Steps between lines where output is no terminal." default:"10"`
	deviceFlags
}

func (trainCmd) Help() string {
	return `Examples:
  trit train --data texts --steps 1000 --out runs/mine
  trit train --data "$(go env GOROOT)/src" --include '*.go' --preset micro --out runs/go
  trit train --resume --out runs/mine --steps 2000
  trit run --model runs/mine "Once"`
}

func (c *trainCmd) Run(e *env) error {
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	var t *train.Trainer
	if c.Resume {
		// More steps stretch the schedule; without the flag the run ends as it
		// would have.
		t, err = train.Resume(c.Out, func(cfg *train.Config) {
			cfg.Device = dev
			if c.Steps > 0 {
				cfg.Steps = c.Steps
			}
		})
	} else {
		var cfg train.Config
		if cfg, err = c.config(); err == nil {
			cfg.Device = dev
			t, err = train.New(cfg)
		}
	}
	if err != nil {
		return err
	}
	p := newProgress(e.err, c.LogEvery)
	defer p.close()
	return t.Run(e.ctx, p.event)
}

// config turns the flags into a configuration.
func (c *trainCmd) config() (train.Config, error) {
	cfg := train.Default()
	cfg.Dir, cfg.Plain, cfg.From = c.Out, c.Plain, c.From
	cfg.Data.Path, cfg.Data.Include, cfg.Data.Exclude, cfg.Data.Holdout = c.Data, c.Include, c.Exclude, c.Holdout
	m, err := bitnet158.Preset(c.Preset)
	if err != nil {
		return cfg, err
	}
	if m.Elem.Size() != 4 {
		return cfg, fmt.Errorf("preset %s is a published model, too large to train from scratch here; take another", c.Preset)
	}
	for _, o := range []struct {
		flag  int
		field *int
	}{{c.Hidden, &m.Hidden}, {c.FFN, &m.FFN}, {c.Layers, &m.Layers}, {c.Heads, &m.Heads}, {c.KVHeads, &m.KVHeads}} {
		if o.flag > 0 {
			*o.field = o.flag
		}
	}
	if m.Heads > 0 {
		m.HeadDim = m.Hidden / m.Heads
	}
	m.Context = c.Window // what it is trained for
	cfg.Model = m
	switch c.Tokenizer {
	case train.Bytes:
		cfg.Tokenizer = train.Tokenizer{Kind: train.Bytes}
	case train.BPE:
		cfg.Tokenizer = train.Tokenizer{Kind: train.BPE, Vocab: c.Vocab}
	default:
		if _, err := os.Stat(c.Tokenizer); err != nil {
			return cfg, fmt.Errorf("--tokenizer is bytes, bpe or a file: %w", err)
		}
		cfg.Tokenizer = train.Tokenizer{Kind: train.File, Path: c.Tokenizer}
	}
	cfg.Rows, cfg.Window, cfg.Seed = c.Rows, c.Window, c.Seed
	if c.Steps > 0 {
		cfg.Steps = c.Steps
	}
	s := &cfg.Optimizer.Schedule
	s.SecondPeak *= c.LR / s.Peak
	s.Kind, s.Peak, s.Warmup, s.Decay = c.Schedule, c.LR, c.Warmup, c.Decay
	cfg.Optimizer.Clip = c.Clip
	cfg.ValidateEvery, cfg.ValidateWindows = c.ValidateEvery, c.ValidateWindows
	cfg.SaveEvery, cfg.Keep = c.SaveEvery, c.Keep
	return cfg, nil
}
