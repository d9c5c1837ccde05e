package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

type trainCmd struct {
	Config       string `help:"Settings from a YAML file; flags override it." placeholder:"FILE" type:"existingfile"`
	PrintConfig  bool   `help:"Write the settings in effect as YAML, with comments, and stop."`
	Resume       bool   `help:"Continue the run in --out from its newest checkpoint; --config and flags change its settings."`
	Twin         bool   `help:"Train the model and its unquantized twin with each of --seeds, and write the gap to --out."`
	Explain      bool   `help:"Show the memory of a step with and without recomputation, its kernels and its memory plan, and stop."`
	ExplainRanks int    `help:"With --explain: as on one of so many ranks." default:"1" placeholder:"N"`
	LogEvery     int    `help:"Steps between lines where output is no terminal." default:"10"`
	deviceFlags
	settings
}

func (trainCmd) Help() string {
	return `Each setting of the file is a flag too, and the other way around.

On several devices, and started by mpirun (a build with -tags mpi), every device
or process is a rank: each takes its share of the rows of a batch. docs/scaling.md
tells more.

Examples:
  trit train --data texts --steps 1000 --out runs/mine
  trit train --data "$(go env GOROOT)/src" --include '*.go' --preset micro --out runs/go
  trit train --data texts --preset micro --print-config > run.yaml
  trit train --config run.yaml --lr 2e-3 --out runs/low
  trit train --resume --out runs/mine --steps 2000
  trit train --data texts --twin --seeds 1,2,3 --twin-lr 2e-3 --out runs/gap
  trit train --data texts --accumulate 4 --memory 512MB --out runs/lean
  trit train --explain --preset micro --memory 60MB
  trit train --data texts --device cuda:0,1 --out runs/two
  mpirun -n 2 trit train --data texts --shard-optimizer --threads 1 --out runs/two
  trit run --model runs/mine "Once"`
}

func (c *trainCmd) Run(e *env) error {
	if c.PrintConfig {
		return c.print(e)
	}
	cfg := runfile.Default()
	if err := c.configure(&cfg); err != nil {
		return err
	}
	if c.Explain {
		return c.explain(e, &cfg)
	}
	if cfg.Dir == "" {
		return fmt.Errorf("no folder for the run is given: set --out DIR, or out: DIR in the file of --config")
	}
	ranks, done, err := c.join(e)
	if done || err != nil {
		return err
	}
	if names := auto.Split(c.Device); len(names) > 1 {
		if ranks != nil {
			return fmt.Errorf("--device %s: mpirun starts a process for each device: name one, or leave mpirun out", c.Device)
		}
		if c.Twin {
			return c.twinsTogether(e, cfg, len(names))
		}
		return c.together(e, cfg, len(names))
	}
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	if c.Twin {
		cfg.Device, cfg.Scale.Ranks = dev, ranks.communicator()
		return ranks.end(c.twins(e, &cfg))
	}
	p := newProgress(e.err, c.LogEvery)
	err = c.train(e.ctx, cfg, dev, ranks.communicator(), p.event)
	p.close()
	if ranks.first() {
		whatNext(e, err, cfg.Dir, "")
	}
	return ranks.end(err)
}

// train runs or resumes the run as a rank on dev; c is nil where that is the only
// one.
func (c *trainCmd) train(ctx context.Context, cfg runfile.Run, dev devices.Device, comm devices.Communicator, events func(train.Event)) (err error) {
	cfg.Device, cfg.Scale.Ranks = dev, comm
	var t *train.Trainer
	if c.Resume {
		// More steps stretch the schedule; without the flag the run ends as it
		// would have.
		var bad error
		t, err = train.Resume(cfg.Dir, func(saved *train.Config) {
			over := runfile.Run{Out: cfg.Dir, Config: *saved}
			bad = c.configure(&over)
			*saved = over.Config
			saved.Device, saved.Scale.Ranks = dev, comm
		})
		if bad != nil {
			err = bad
		}
	} else {
		t, err = train.New(cfg.Config)
	}
	if err != nil {
		return err
	}
	return t.Run(ctx, events)
}

// whatNext tells a newcomer how to go on.
func whatNext(e *env, err error, dir, flags string) {
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(e.err, "It goes on with: trit train %s--resume --out %s\n", flags, dir)
	case err != nil:
		if saved, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*")); len(saved) > 0 {
			fmt.Fprintf(e.err, "%s is kept; it goes on with: trit train %s--resume --out %s\n", saved[len(saved)-1], flags, dir)
		}
	default:
		fmt.Fprintf(e.err, "%s is a model now: trit run --model %s \"Once\"\n", dir, dir)
	}
}

// explain plans the run's step.
func (c *trainCmd) explain(e *env, cfg *runfile.Run) error {
	if names := auto.Split(c.Device); len(names) > 1 {
		c.Device, c.ExplainRanks = names[0], max(c.ExplainRanks, len(names))
	}
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	cfg.Device = dev
	if c.ExplainRanks > 1 {
		cfg.Scale.Ranks = inprocess.Group(c.ExplainRanks)[0]
	}
	var programs bytes.Buffer
	m, r, err := train.Plan(cfg.Config, func(p *runtime.Program) error { return p.Explain(&programs) })
	if err != nil {
		return err
	}
	fmt.Fprintln(e.out, "memory of a step:", m)
	if r.Nodes > 0 {
		fmt.Fprintf(e.out, "recomputation: %d bytes before, %d after; %d ops run twice, %.1f%% of a step's estimated cost\n", r.Before, r.After, r.Nodes, 100*r.Cost)
	}
	fmt.Fprintln(e.out)
	_, err = programs.WriteTo(e.out)
	return err
}

// configure sets what the file and the flags give, over what cfg holds.
func (c *trainCmd) configure(cfg *runfile.Run) error {
	if c.Config != "" {
		text, err := os.ReadFile(c.Config)
		if err != nil {
			return err
		}
		if err := runfile.Read(c.Config, text, cfg); err != nil {
			return err
		}
	}
	c.apply(cfg)
	cfg.Dir = cfg.Out
	// The flag takes a file's path too.
	if k := &cfg.Tokenizer; !slices.Contains([]string{train.Bytes, train.BPE, train.File}, k.Kind) {
		if _, err := os.Stat(k.Kind); err != nil {
			return fmt.Errorf("the tokenizer is bytes, bpe or a file: %w", err)
		}
		k.Kind, k.Path = train.File, k.Kind
	}
	return nil
}

// print writes the settings in effect; with --resume, over those of the run.
func (c *trainCmd) print(e *env) error {
	cfg := runfile.Default()
	if err := c.configure(&cfg); err != nil {
		return err
	}
	if c.Resume {
		saved, err := train.SavedConfig(cfg.Out)
		if err != nil {
			return err
		}
		cfg = runfile.Run{Out: cfg.Out, Config: saved}
		if err := c.configure(&cfg); err != nil {
			return err
		}
	}
	text, err := runfile.Write(&cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.out, "# Settings of trit train; \"trit train --config FILE\" reads them.")
	_, err = e.out.Write(text)
	return err
}
