package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"

	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

// twins compares a model with its unquantized twin.
func (c *trainCmd) twins(e *env, cfg *runfile.Run) error {
	var t *train.Twins
	var err error
	if c.Resume {
		t, err = c.resumeTwins(cfg)
	} else {
		t, err = train.NewTwins(cfg.Config, cfg.Twin)
	}
	if err != nil {
		return err
	}
	var p *progress
	last := ""
	gap, err := t.Run(e.ctx, func(run string, ev train.Event) {
		if run != last {
			if p != nil {
				p.close()
			}
			fmt.Fprintf(e.err, "%s\n", run)
			p, last = newProgress(e.err, c.LogEvery), run
		}
		p.event(ev)
	})
	if p != nil {
		p.close()
	}
	if err != nil {
		if cfg.Scale.Ranks == nil || cfg.Scale.Ranks.Rank() == 0 {
			whatNext(e, err, cfg.Dir, "--twin ")
		}
		return err
	}
	if gap == nil { // another rank than 0
		return nil
	}
	fmt.Fprintf(e.out, "%s\nwritten to %s and gap.txt beside it\n", gap, filepath.Join(cfg.Dir, "gap.json"))
	return nil
}

// resumeTwins refuses flags that say something else than the comparison began
// with: half of its runs would be of one kind and half of another.
func (c *trainCmd) resumeTwins(cfg *runfile.Run) (*train.Twins, error) {
	t, err := train.ResumeTwins(cfg.Dir, func(saved *train.Config) {
		saved.Device, saved.Scale.Ranks = cfg.Device, cfg.Scale.Ranks
	})
	if err != nil {
		return nil, err
	}
	began := runfile.Run{Out: cfg.Out}
	began.Config, began.Twin = t.Config()
	now := began
	if err := c.configure(&now); err != nil {
		return nil, err
	}
	began.Dir, now.Dir = "", ""
	for _, p := range []*string{&now.Data.Path, &now.Data.Cache, &now.Tokenizer.Path, &now.From} {
		if *p != "" {
			if *p, err = filepath.Abs(*p); err != nil {
				return nil, err
			}
		}
	}
	if !reflect.DeepEqual(began, now) {
		return nil, errors.New("a comparison goes on with the settings that it began with: leave out the flags and the file, or begin another")
	}
	return t, nil
}
