package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/filelock"
)

// saver writes checkpoints beside the training steps: it copies the state into
// memory that it keeps, and a goroutine writes the copy. At most one is being
// written.
type saver struct {
	w       *writer
	copy    snapshot // the goroutine's while busy
	busy    bool
	outcome chan outcome
}

// outcome is how the writing of a checkpoint ended.
type outcome struct {
	step  int
	err   error // there is no checkpoint
	after error // it is complete, but what follows failed
}

func newSaver(w *writer) *saver {
	return &saver{w: w, copy: snapshot{stats: map[string]graph.Tensor{}}, outcome: make(chan outcome, 1)}
}

// start copies the engine's state and begins to write it. The saver must not be
// busy.
func (s *saver) start(ctx context.Context, e *Engine, m *meter, r *recorder, p progress) error {
	if err := e.StateTo(ctx, &s.copy.State); err != nil {
		return err
	}
	m.copyTo(s.copy.stats)
	s.busy = true
	go func() {
		o := outcome{step: p.Step}
		// The curves up to a checkpoint are on the disk before it is.
		synced := r.sync()
		o.after, o.err = s.w.write(ctx, p, s.copy)
		o.after = errors.Join(synced, o.after)
		s.outcome <- o
	}()
	return nil
}

// ended returns the outcome of a write that has ended by now, or, with wait, when
// it has. ok is false if there is none.
func (s *saver) ended(wait bool) (o outcome, ok bool) {
	if !s.busy {
		return o, false
	}
	if wait {
		o, ok = <-s.outcome, true
	} else {
		select {
		case o = <-s.outcome:
			ok = true
		default:
		}
	}
	s.busy = !ok
	return o, ok
}

// reap reports a checkpoint whose writing has ended; with wait, it waits for it.
// The error is that of a checkpoint that could not be written.
func (t *Trainer) reap(wait bool) error {
	if t.save == nil {
		return nil
	}
	o, ok := t.save.ended(wait)
	if !ok {
		return nil
	}
	if o.err != nil {
		return fmt.Errorf("train: checkpoint of step %d: %w", o.step, o.err)
	}
	t.lastSave = o.step
	t.emit(Event{Kind: Saved, Step: o.step, Steps: t.cfg.Steps, Path: filepath.Join(t.cfg.Dir, checkpointsDir, stepName(o.step))})
	if o.after != nil {
		t.warn(fmt.Errorf("the checkpoint of step %d is complete, but: %w", o.step, o.after))
	}
	return nil
}

// reapWarned is reap where training goes on after an error: a full disk now may
// have room later.
func (t *Trainer) reapWarned(wait bool) {
	if err := t.reap(wait); err != nil {
		t.warn(fmt.Errorf("%w; training goes on, and the earlier checkpoints are kept", err))
	}
}

func (t *Trainer) warn(err error) {
	t.emit(Event{Kind: Warned, Step: t.progress.Step, Message: err.Error()})
}

// checkpointSoon begins to write a checkpoint. While an earlier one is being
// written it is put off to a later step, unless it has to be of this one.
func (t *Trainer) checkpointSoon(ctx context.Context, now bool) error {
	// Ranks write the same checkpoints, however fast each of them is.
	if t.save.busy && !now && t.cfg.Scale.Ranks == nil {
		t.saveDue = true
		return nil
	}
	t.reapWarned(true)
	t.saveDue = false
	if due, err := t.cfg.Scale.any(t.lastSave != t.progress.Step); !due || err != nil {
		return err
	}
	// A cancelled run still wants what it has begun to write.
	err := t.startSave(context.WithoutCancel(ctx))
	if err == nil && t.cfg.SaveInline {
		t.reapWarned(true)
	}
	return err
}

// checkpoint writes one unless the newest is of this step, and waits for it.
func (t *Trainer) checkpoint(ctx context.Context) error {
	t.reapWarned(true)
	t.saveDue = false
	if due, err := t.cfg.Scale.any(t.lastSave != t.progress.Step); !due || err != nil {
		return err
	}
	if err := t.startSave(ctx); err != nil {
		return fmt.Errorf("train: checkpoint of step %d: %w", t.progress.Step, err)
	}
	return t.reap(true)
}

func (t *Trainer) startSave(ctx context.Context) error {
	t.recorder.flush()
	return t.save.start(ctx, t.engine, t.meter, t.recorder, t.progress)
}

// claim takes the run folder for this process, which has it until it ends, and
// checks that no other has trained in it since the Trainer was made.
func (t *Trainer) claim() error {
	if rank, _ := t.cfg.Scale.ranks(); rank > 0 {
		return nil // rank 0 claims it for all
	}
	path := filepath.Join(t.cfg.Dir, lockFile)
	l, err := filelock.Try(path, false)
	if errors.Is(err, filelock.ErrLocked) {
		holder := filelock.Note(path)
		if holder == "" {
			holder = "another process"
		}
		return fmt.Errorf("train: %s is being trained by %s: wait until it ends, or choose another folder", t.cfg.Dir, holder)
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.warn(fmt.Errorf("this file system has no locks, so see to it that no second process trains in %s: %w", t.cfg.Dir, err))
	case err != nil:
		return fmt.Errorf("train: a run needs a folder to write to: %w", err)
	default:
		t.lock = l
		if err := l.SetNote(whoami()); err != nil {
			t.warn(fmt.Errorf("%s: %w", path, err))
		}
	}
	steps, err := listSteps(filepath.Join(t.cfg.Dir, checkpointsDir))
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	switch {
	case slices.Equal(steps, t.seen):
		return nil
	case t.from == nil:
		return inUse(t.cfg.Dir, steps[0])
	}
	return fmt.Errorf("train: another process has trained in %s since this one read it: resume it again", t.cfg.Dir)
}

func inUse(dir string, step int) error {
	return fmt.Errorf("train: %s holds a run that has reached step %d: resume it or choose another folder", dir, step)
}
