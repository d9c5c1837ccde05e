package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

// together trains on several devices at once, each a rank of this process. When
// one fails the others stop; the error is that of the one that failed.
func (c *trainCmd) together(e *env, cfg runfile.Run, names []string) error {
	if slices.Contains(names, "") {
		return fmt.Errorf("--device %q: a name is empty", c.Device)
	}
	p := newProgress(e.err, c.LogEvery)
	var mu sync.Mutex
	events := func(ev train.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.event(ev)
	}
	threads := c.threads()
	if c.Threads < 1 {
		threads = max(1, runtime.GOMAXPROCS(0)/len(names))
	}
	// All are opened before any trains: a mistake in a name is told at once.
	devs := make([]auto.Closer, len(names))
	defer func() {
		for _, d := range devs {
			if d != nil {
				d.Close()
			}
		}
	}()
	for i, name := range names {
		var err error
		if devs[i], _, err = auto.Open(auto.Options{Name: name, Threads: threads}); err != nil {
			return err
		}
	}
	var first error
	var wg sync.WaitGroup
	for i, comm := range inprocess.Group(len(names)) {
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
					first = fmt.Errorf("rank %d of %d, on %s: %w", i, len(names), devs[i].Name(), err)
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
