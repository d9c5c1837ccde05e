package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/trit-ml/trit/internal/filelock"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/train/data"
)

// Trainer is one run. Its methods are called by one goroutine.
type Trainer struct {
	cfg    Config
	from   *saved // where a resumed run begins, nil for a new one
	emit   func(Event)
	warned []error // to be reported when Run is called
	seen   []int   // steps with a checkpoint when the Trainer was made

	tok    *tokenizer.Tokenizer
	tokens *data.Tokens
	engine *Engine
	batch  *data.Batch
	train  data.Source
	valid  data.Held
	save   *saver
	frozen frozen // models that are read and not trained
	base   string // digest of the one that adapters are for
	lock   *filelock.Lock

	watch watch
	good  State // before the step, with CheckFinite

	meter    *meter    // nil without quantization, or if it is off
	recorder *recorder // nil until the run is prepared

	progress progress
	began    time.Time
	busy     time.Duration // spent in steps
	done     int           // steps of this process
	lastSave int           // step of the newest checkpoint, -1 if none
	saveDue  bool          // a checkpoint was put off
	stop     bool          // what the ranks last agreed on
}

// New checks the configuration of a new run. The run folder must not hold one
// already.
func New(cfg Config) (*Trainer, error) {
	if err := cfg.absolute(); err != nil {
		return nil, err
	}
	if err := errors.Join(cfg.shape(), cfg.validate()); err != nil {
		return nil, err
	}
	steps, err := listSteps(filepath.Join(cfg.Dir, checkpointsDir))
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if len(steps) > 0 {
		return nil, inUse(cfg.Dir, steps[0])
	}
	return &Trainer{cfg: cfg, lastSave: -1}, nil
}

// Resume continues the run in dir from its newest undamaged checkpoint. change
// may alter the saved configuration, and must set what is not saved: Device,
// and Declare for an architecture of its own. Anything else but Dir, Keep,
// SaveEvery and the validation settings changes the losses that follow.
func Resume(dir string, change func(*Config)) (*Trainer, error) {
	steps, err := listSteps(filepath.Join(dir, checkpointsDir))
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	from, damaged, err := newest(dir)
	if err != nil {
		return nil, err
	}
	cfg := from.Config
	if !from.Custom && from.Config.LoRA.Rank == 0 {
		m, err := checkpoint.Open(filepath.Join(from.dir, modelDir), checkpoint.FullPrecision())
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		cfg.Model = m.Config()
		if err := m.Close(); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
	}
	cfg.Dir = dir
	if change != nil {
		change(&cfg)
	}
	if from.Custom && cfg.Declare == nil {
		return nil, fmt.Errorf("train: %s trains an architecture of its own: set Declare to resume it", dir)
	}
	if q := from.Config.Quantization.model(); cfg.Quantization.model() != q {
		return nil, fmt.Errorf("train: %s trains a model of act_bits %d, group %d, norm %v; resuming cannot change them: start a new run with from", dir, q.ActBits, q.Group, q.Norm)
	}
	if cfg.Shape != from.Config.Shape {
		return nil, fmt.Errorf("train: %s trains a model of %+v; resuming cannot make it %+v: start a new run", dir, from.Config.Shape, cfg.Shape)
	}
	if err := cfg.absolute(); err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg, from: from, lastSave: from.Step, seen: steps}
	for _, err := range damaged {
		t.warned = append(t.warned, fmt.Errorf("passed over a checkpoint: %w", err))
	}
	if now := cfg.Device.Name(); now != from.Device {
		t.warned = append(t.warned, fmt.Errorf("the run began on %s and goes on on %s: losses will differ in their last bits", from.Device, now))
	}
	return t, nil
}

// absolute makes paths independent of the working directory.
func (c *Config) absolute() error {
	for _, p := range []*string{&c.Dir, &c.Data.Path, &c.Data.Cache, &c.Tokenizer.Path, &c.From, &c.Distill.Teacher} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("train: %w", err)
		}
		*p = abs
	}
	return nil
}

// Config returns the run's configuration.
func (t *Trainer) Config() Config { return t.cfg }

// Run trains until the last step and writes checkpoints on the way. events is
// called for everything worth showing, on this goroutine; it may be nil. Of
// several ranks, rank 0 reports; the others give warnings only. When ctx is
// cancelled, on any rank, Run finishes the step, writes a checkpoint and returns an
// error that wraps ctx's. While Run is under way the run folder is locked: a
// second trainer in it gets an error that names the first. A checkpoint that
// cannot be written is a warning while training can go on, and an error at the
// start and at the end. A loss that is not finite, or explodes, ends the run with
// an error that wraps ErrDiverged and leaves the checkpoints before it. Run is
// called once.
func (t *Trainer) Run(ctx context.Context, events func(Event)) (err error) {
	t.began = time.Now()
	rank, _ := t.cfg.Scale.ranks()
	t.emit = func(e Event) {
		if rank > 0 {
			if e.Kind != Warned {
				return
			}
			e.Message = fmt.Sprintf("rank %d: %s", rank, e.Message)
		}
		e.Elapsed = time.Since(t.began)
		t.recorder.event(e)
		if events != nil {
			events(e)
		}
	}
	for _, w := range t.warned {
		t.emit(Event{Kind: Warned, Message: w.Error()})
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.claim(); err != nil {
		return err
	}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	if t.lastSave < 0 {
		if err := t.checkpoint(ctx); err != nil {
			return err
		}
		if err := t.opens(); err != nil {
			return err
		}
	}
	for t.progress.Step < t.cfg.Steps {
		var err error
		if t.stop, err = t.cfg.Scale.any(ctx.Err() != nil); err != nil {
			return err
		}
		if t.stop {
			err := cmp.Or(ctx.Err(), context.Canceled) // another rank's context may be the cause
			return errors.Join(fmt.Errorf("train: stopped after step %d: %w", t.progress.Step, err), t.checkpoint(context.WithoutCancel(ctx)))
		}
		if err := t.step(ctx); err != nil {
			return err
		}
		if err := t.after(ctx); err != nil {
			return err
		}
	}
	return t.checkpoint(context.WithoutCancel(ctx))
}

// step does one step. It is not interrupted: half a step cannot be saved.
func (t *Trainer) step(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	n := t.progress.Step
	measured := t.meter.due(n + 1)
	if measured {
		if err := t.meter.prepare(ctx, t.engine); err != nil {
			return err
		}
	}
	start := time.Now()
	t.train.Next(t.batch)
	lr, decay := t.cfg.Optimizer.Schedule.At(n, t.cfg.Steps)
	if t.cfg.CheckFinite {
		if err := t.engine.StateTo(ctx, &t.good); err != nil {
			return err
		}
	}
	res, err := t.engine.Step(ctx, t.batch, lr, decay)
	if err != nil {
		return err
	}
	if why := t.watch.wrong(res); why != "" {
		return t.diverged(ctx, n+1, why, lr, decay)
	}
	t.progress.Step, t.progress.Position = n+1, t.train.Position()
	t.busy += time.Since(start)
	t.done++
	each := t.busy / time.Duration(t.done)
	t.emit(Event{
		Kind: Stepped, Step: n + 1, Steps: t.cfg.Steps,
		Epoch:       float64(t.progress.Position.Epoch) + float64(t.progress.Position.Index)/float64(t.train.Windows()),
		Tokens:      int64(n+1) * int64(t.cfg.Rows*t.cfg.Window),
		Loss:        res.Loss,
		Objective:   res.Objective,
		BitsPerByte: bitsPerByte(res.Loss*float64(t.batch.Counted), t.batch.Bytes),
		GradNorm:    res.GradNorm, LR: lr, Decay: decay,
		TokensPerSecond: float64(t.cfg.Rows*t.cfg.Window) / each.Seconds(),
		Remaining:       each * time.Duration(t.cfg.Steps-n-1),
	})
	if measured {
		stats, err := t.meter.measure(ctx, t.engine)
		if err != nil {
			return err
		}
		t.emit(Event{Kind: Measured, Step: n + 1, Steps: t.cfg.Steps, Weights: stats})
	}
	return nil
}

// lastGood names the newest checkpoint.
func (t *Trainer) lastGood() string {
	if t.lastSave < 0 {
		return "none"
	}
	return filepath.Join(t.cfg.Dir, checkpointsDir, stepName(t.lastSave))
}

// after validates and saves where it is time to.
func (t *Trainer) after(ctx context.Context) error {
	n, last := t.progress.Step, t.progress.Step == t.cfg.Steps
	due := func(every int) bool { return every > 0 && n%every == 0 }
	best := false
	if t.cfg.Scale.Ranks != nil {
		ctx = context.WithoutCancel(ctx) // ranks stop together, before a step
	}
	if (due(t.cfg.ValidateEvery) || last) && ctx.Err() == nil {
		var err error
		if best, err = t.validate(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the loop stops before the next step
			}
			return err
		}
	}
	t.reapWarned(false)
	if !last && ctx.Err() == nil && (due(t.cfg.SaveEvery) || best || t.saveDue) {
		return t.checkpointSoon(ctx, best)
	}
	return nil
}

// validate scores the weights and reports whether they are the best so far.
func (t *Trainer) validate(ctx context.Context) (best bool, err error) {
	s, err := t.engine.Evaluate(ctx, t.valid, t.batch)
	if err != nil {
		return false, err
	}
	v := Validated{Step: t.progress.Step, Loss: s.Loss(), BitsPerByte: s.BitsPerByte()}
	best = t.progress.Best == nil || v.Loss < t.progress.Best.Loss
	t.progress.Last = &v
	if best {
		t.progress.Best = &v
	}
	t.emit(Event{Kind: Scored, Step: v.Step, Steps: t.cfg.Steps, Valid: v, Best: best})
	return best, nil
}

// opens checks that what was saved can be loaded, before hours are spent.
func (t *Trainer) opens() error {
	if rank, _ := t.cfg.Scale.ranks(); t.save.w.model == nil || rank > 0 {
		return nil
	}
	m, err := checkpoint.Open(t.cfg.Dir, checkpoint.FullPrecision())
	if err != nil {
		return fmt.Errorf("train: the saved model does not open again; is its configuration one that config.json can hold? %w", err)
	}
	return m.Close()
}

func (t *Trainer) close() error {
	t.reapWarned(true)
	var err error
	if t.engine != nil {
		err = t.engine.Close()
	}
	err = errors.Join(err, t.frozen.close())
	if t.tokens != nil {
		err = errors.Join(err, t.tokens.Close())
	}
	err = errors.Join(err, t.recorder.close())
	if t.lock != nil {
		err = errors.Join(err, t.lock.Release())
	}
	return err
}
