package main

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"text/tabwriter"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/internal/cpu"
)

type doctorCmd struct {
	Quick bool `help:"Do not measure."`
}

// measureAccelerator opens an accelerator only to measure it.
func measureAccelerator(e *env, name string) (l devices.Limits, libraries string, err error) {
	dev, _, err := auto.Open(auto.Options{Name: name})
	if err != nil {
		return l, "", err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if a, ok := dev.(devices.Accelerator); ok {
		libraries = a.Libraries()
	}
	l, err = auto.Measure(e.ctx, dev, 0)
	return l, libraries, err
}

func (doctorCmd) Help() string { return "Example:\n  trit doctor" }

// Run says what this machine has, what trit would use of it, and how fast it is
// at best.
func (c *doctorCmd) Run(e *env) error {
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	row := func(name string, v any) { fmt.Fprintf(w, "%s\t%v\n", name, v) }
	row("processor", cpu.Host())
	set, err := cpu.Detect()
	if err != nil {
		return err
	}
	row("features in use", set)
	for _, name := range auto.Names() {
		if name == "cuda" {
			continue // by number, below
		}
		dev, note, err := auto.Open(auto.Options{Name: name})
		switch {
		case err != nil:
			row("device "+name, "not here: "+err.Error())
			continue
		case note != "":
			row("device "+name, dev.Name()+", because: "+note)
		default:
			row("device "+name, dev.Name())
		}
		if err := dev.Close(); err != nil {
			return err
		}
	}
	names, about, err := auto.Accelerators()
	if err != nil {
		row("device cuda", "not here: "+err.Error())
	}
	for i, name := range names {
		row("device "+name, about[i])
		if c.Quick {
			continue
		}
		if l, libraries, err := measureAccelerator(e, name); err != nil {
			row("limits, "+name, err)
		} else {
			row("libraries, "+name, libraries)
			row("limits, "+name, fmt.Sprintf("read %.0f GB/s, copy %.0f GB/s, %.1f T int8 multiply-adds/s and %.1f TFLOP/s bf16 (%s)", l.ReadGBs, l.CopyGBs, l.MACGs/1e3, l.FMAGFLOPs/1e3, l.ISA))
		}
	}
	if !c.Quick {
		for _, threads := range []int{1, goruntime.GOMAXPROCS(0)} {
			l, err := avx.Measure(threads)
			if err != nil {
				row("limits", err)
				break
			}
			row(fmt.Sprintf("limits, %d threads", l.Threads), fmt.Sprintf("read %.1f GB/s, %.0f G int8 multiply-adds/s and %.0f GFLOP/s f32 (%s)", l.ReadGBs, l.MACGs, l.FMAGFLOPs, l.ISA))
		}
	}
	return w.Flush()
}
