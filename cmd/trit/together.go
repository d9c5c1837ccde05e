package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

// together trains on several devices at once, each a rank of this process.
func (c *trainCmd) together(e *env, cfg runfile.Run, n int) error {
	p := newProgress(e.err, c.LogEvery)
	var mu sync.Mutex
	events := func(ev train.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.event(ev)
	}
	err := c.eachRank(e, n, func(dev devices.Device, comm devices.Communicator) error {
		return c.train(e.ctx, cfg, dev, comm, events)
	})
	p.close()
	whatNext(e, err, cfg.Dir, "")
	return err
}

// twinsTogether compares a model with its twin, training each on several devices.
func (c *trainCmd) twinsTogether(e *env, cfg runfile.Run, n int) error {
	p := &twinProgress{e: e, every: c.LogEvery}
	var mu sync.Mutex
	var gap *train.Gap
	err := c.eachRank(e, n, func(dev devices.Device, comm devices.Communicator) error {
		own := cfg
		own.Device, own.Scale.Ranks = dev, comm
		g, err := c.compare(e.ctx, &own, func(run string, ev train.Event) {
			mu.Lock()
			defer mu.Unlock()
			p.event(run, ev)
		})
		if comm.Rank() == 0 {
			gap = g
		}
		return err
	})
	p.close()
	return tellGap(e, cfg.Dir, gap, err)
}

// eachRank runs the ranks on devices of their own. When one fails the others stop;
// the error is that of the one that failed.
func (c *trainCmd) eachRank(e *env, n int, run func(devices.Device, devices.Communicator) error) error {
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	devs := dev.(devices.Several).Each()
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	for i, comm := range inprocess.Group(n) {
		wg.Go(func() {
			err := run(devs[i], comm)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil || errors.Is(first, devices.ErrGone) && !errors.Is(err, devices.ErrGone) {
				first = err
				if !errors.Is(err, context.Canceled) {
					first = fmt.Errorf("rank %d of %d, on %s: %w", i, n, devs[i].Name(), err)
				}
			}
			comm.Leave()
		})
	}
	wg.Wait()
	return first
}
