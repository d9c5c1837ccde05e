package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/runtime"
)

// rank is one device's share of a model. The first one's program and run are the
// engine's own.
type rank struct {
	dev  devices.Member
	comm *inprocess.Communicator
	prog *runtime.Program // nil in the first
}

func (r *rank) close() error {
	var err error
	if r.prog != nil {
		err = r.prog.Close()
	}
	return errors.Join(err, r.dev.Leave())
}

// startSharded is Start for a model that devices share.
func (m *Model) startSharded(ctx context.Context, devs []devices.Device, s Shape) (_ *Engine, err error) {
	began := time.Now()
	s = m.shapeOn(devs[0], s)
	ranks := make([]*rank, len(devs))
	progs, runs := make([]*runtime.Program, len(devs)), make([]*runtime.Run, len(devs))
	defer func() {
		if err == nil {
			return
		}
		for i, r := range ranks {
			if runs[i] != nil {
				err = errors.Join(err, runs[i].Close())
			}
			if progs[i] != nil {
				err = errors.Join(err, progs[i].Close())
			}
			if r != nil {
				err = errors.Join(err, r.dev.Leave())
			}
		}
	}()
	for i, c := range inprocess.Group(len(devs)) {
		j, ok := devs[i].(devices.Joiner)
		if !ok {
			return nil, fmt.Errorf("device %s has no kernels for collective ops: name one device", devs[i].Name())
		}
		ranks[i] = &rank{dev: j.Join(c), comm: c}
		if progs[i], err = m.compile(ranks[i].dev, s, collective.Attrs{Ranks: len(devs), Rank: i}); err != nil {
			return nil, err
		}
	}
	// Ranks meet when their devices make the first queue.
	source := &locked{src: m.Weights}
	errs := make([]error, len(devs))
	var wg sync.WaitGroup
	for i, r := range ranks {
		wg.Go(func() {
			err := progs[i].Load(ctx, source)
			if err == nil && i > 0 {
				runs[i], err = progs[i].NewRun()
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: on %s: %w", m.Name, r.dev.Name(), err)
				r.comm.Leave()
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != nil && (err == nil || errors.Is(err, devices.ErrGone)) {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	session, err := runtime.NewSession(progs[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	runs[0] = session.Run()
	if err := errors.Join(runs[0].Lead(ranks[0].comm.Leave, runs[1:]...), session.Speculate(runtime.Speculation{Tokens: s.Guess})); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	for i := 1; i < len(ranks); i++ {
		ranks[i].prog = progs[i]
	}
	return &Engine{Model: m, Program: progs[0], Session: session, Load: time.Since(began), ranks: ranks}, nil
}

// locked is a source that several programs load from at once.
type locked struct {
	mu  sync.Mutex
	src runtime.Source
}

// Tensor implements runtime.Source.
func (s *locked) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Tensor(ctx, name)
}
