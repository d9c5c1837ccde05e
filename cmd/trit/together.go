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

// together trains on several devices at once, each a rank of this process. When
// one fails the others stop; the error is that of the one that failed.
func (c *trainCmd) together(e *env, cfg runfile.Run, n int) error {
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	devs := dev.(devices.Several).Each()
	p := newProgress(e.err, c.LogEvery)
	var mu sync.Mutex
	events := func(ev train.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.event(ev)
	}
	var first error
	var wg sync.WaitGroup
	for i, comm := range inprocess.Group(n) {
		wg.Go(func() {
			err := c.train(e.ctx, cfg, devs[i], comm, events)
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
	p.close()
	whatNext(e, first, cfg.Dir, "")
	return first
}
