package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

type explainCmd struct {
	subject
	deviceFlags
	Tokens   int    `help:"Tokens in the step that is explained." default:"1"`
	Depth    int    `help:"Tokens in the cache before the step that is measured."`
	Batch    int    `help:"Sequences decoded at once in the step that is measured." default:"1"`
	Cache    string `help:"Element type of the cache in a step that is measured: f32, f16, bf16, i8." enum:"f32,f16,bf16,i8" default:"f16"`
	Context  int    `help:"Positions in the cache." default:"4096"`
	Profile  bool   `help:"Load weights, random ones for a preset, and measure where a step's time goes."`
	Timeline string `help:"Draw the measured step as an SVG file." placeholder:"FILE"`
}

func (explainCmd) Help() string {
	return `Examples:
  trit explain
  trit explain --preset 2b4t --tokens 512
  trit explain --preset 2b4t --profile --timeline step.svg
  trit explain --preset 2b4t --device cuda:sm_90    (no GPU is needed)
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
	p := passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, c.Context, 32, engine.CacheElem(dev)), MaxRows: c.Tokens, Packed: packed, Screen: passes.Screen{Tops: 1}.For(devices.NewRegistry(dev).Claims),
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
	shape.Chunk, shape.Cache = max(c.Tokens, 512), cacheElems[c.Cache]
	eng, err := m.Start(e.ctx, dev, shape)
	if err != nil {
		return err
	}
	defer eng.Close()
	l := limits(e, dev, c.threads())
	calls, err := eng.Profile(e.ctx, test, 10)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s on %s, ", m.Name, where(dev, c.threads(), cpu.Host().Brand))
	if err := printKernels(e.out, test.Name, calls, l); err != nil || c.Timeline == "" {
		return err
	}
	f, err := os.Create(c.Timeline)
	if err != nil {
		return err
	}
	return errors.Join(writeTimeline(f, calls), f.Close())
}
