package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"

	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

// twins compares a model with its unquantized twin.
func (c *trainCmd) twins(e *env, cfg *runfile.Run) error {
	p := &twinProgress{e: e, every: c.LogEvery}
	gap, err := c.compare(e.ctx, cfg, p.event)
	p.close()
	if cfg.Scale.Ranks != nil && cfg.Scale.Ranks.Rank() > 0 {
		return err
	}
	return tellGap(e, cfg.Dir, gap, err)
}

// compare trains both models, as a rank if cfg says so; others than rank 0 return
// no gap.
func (c *trainCmd) compare(ctx context.Context, cfg *runfile.Run, events func(string, train.Event)) (*train.Gap, error) {
	var t *train.Twins
	var err error
	if c.Resume {
		t, err = c.resumeTwins(cfg)
	} else {
		t, err = train.NewTwins(cfg.Config, cfg.Twin)
	}
	if err != nil {
		return nil, err
	}
	return t.Run(ctx, events)
}

// tellGap says what a comparison in dir came to.
func tellGap(e *env, dir string, gap *train.Gap, err error) error {
	if err != nil {
		whatNext(e, err, dir, "--twin ")
		return err
	}
	fmt.Fprintf(e.out, "%s\nwritten to %s and gap.txt beside it\n", gap, filepath.Join(dir, "gap.json"))
	return nil
}

// twinProgress shows the runs of a comparison, one after another.
type twinProgress struct {
	e     *env
	every int
	p     *progress
	run   string
}

func (t *twinProgress) event(run string, ev train.Event) {
	if run != t.run {
		t.close()
		fmt.Fprintf(t.e.err, "%s\n", run)
		t.p, t.run = newProgress(t.e.err, t.every), run
	}
	t.p.event(ev)
}

func (t *twinProgress) close() {
	if t.p != nil {
		t.p.close()
		t.p = nil
	}
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
