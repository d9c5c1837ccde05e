package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

type explainCmd struct {
	subject
	deviceFlags
	Tokens   int    `help:"Tokens in the step that is explained." default:"1"`
	Depth    int    `help:"Tokens in the cache before the step that is measured."`
	Batch    int    `help:"Sequences decoded at once in the step that is measured." default:"1"`
	Context  int    `help:"Positions in the cache." default:"4096"`
	Profile  bool   `help:"Load weights, random ones for a preset, and measure where a step's time goes."`
	Timeline string `help:"Draw the measured step as an SVG file." placeholder:"FILE"`
}

func (explainCmd) Help() string {
	return `Examples:
  trit explain
  trit explain --preset 2b4t --tokens 512
  trit explain --preset 2b4t --profile --timeline step.svg
  TRIT_CPU=-avx512 trit explain --preset nano`
}

func (c *explainCmd) Run(e *env) error {
	if c.Profile || c.Timeline != "" {
		return c.profile(e)
	}
	g, packed, err := c.declare(e, max(c.Tokens, 512))
	if err != nil {
		return err
	}
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	p := passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, c.Context, 32, graph.F32), MaxRows: c.Tokens, Packed: packed, Screen: passes.Screen{Tops: 1},
		Fused: passes.FusedFor(devices.NewRegistry(dev).Claims)})
	if g, err = p.Run(g, nil); err != nil {
		return err
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		return err
	}
	defer prog.Close()
	syms := make([]int, len(prog.Syms()))
	for i, s := range prog.Syms() {
		switch s.Name {
		case passes.RowsSym, passes.TopSym:
			syms[i] = 1
		case passes.FullSym:
		default:
			syms[i] = c.Tokens
		}
	}
	if err := prog.Explain(e.out, syms...); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return nil
}

// profile measures a step of the model and prints it by kernel.
func (c *explainCmd) profile(e *env) error {
	m, err := (&benchCmd{subject: c.subject}).model(e)
	if err != nil {
		return err
	}
	defer m.Close()
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	test := engine.Prefill(c.Tokens)
	if c.Tokens == 1 {
		test = engine.Decode(1, c.Depth, c.Batch)
	}
	shape := engine.BenchShape([]engine.Test{test})
	shape.Chunk, shape.Cache = max(c.Tokens, 512), graph.F16
	eng, err := m.Start(e.ctx, dev, shape)
	if err != nil {
		return err
	}
	defer eng.Close()
	limits, err := avx.Measure(c.threads())
	if err != nil {
		fmt.Fprintln(e.err, "note: no limits to compare with:", err)
	}
	calls, err := eng.Profile(e.ctx, test, 10)
	if err != nil {
		return err
	}
	total, read := time.Duration(0), 0
	for _, t := range calls {
		total += t.Time
		read += t.Read
	}
	fmt.Fprintf(e.out, "%s on %s, %d threads, %s: %d calls, %v, %.1f MB of weights at %.1f GB/s; this machine reads %.1f GB/s\n",
		m.Name, dev.Name(), c.threads(), test.Name, len(calls), total.Round(time.Microsecond), float64(read)/1e6, gbs(read, total), limits.ReadGBs)
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "kernel\tcalls\tms\tof time\tMB of weights\tGB/s\tof limit")
	for _, s := range engine.ByKernel(calls) {
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.1f%%\t", s.Kernel, s.Calls, s.Time.Seconds()*1e3, 100*s.Time.Seconds()/total.Seconds())
		if s.Read > 1<<20 {
			fmt.Fprintf(w, "%.1f\t%.1f\t", float64(s.Read)/1e6, gbs(s.Read, s.Time))
			if limits.ReadGBs > 0 {
				fmt.Fprintf(w, "%.0f%%", 100*gbs(s.Read, s.Time)/limits.ReadGBs)
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil || c.Timeline == "" {
		return err
	}
	f, err := os.Create(c.Timeline)
	if err != nil {
		return err
	}
	return errors.Join(writeTimeline(f, calls), f.Close())
}

func gbs(bytes int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) / d.Seconds() / 1e9
}
