package main

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

type explainCmd struct {
	subject
	deviceFlags
	Tokens  int `help:"Tokens in the step that is explained." default:"1"`
	Context int `help:"Positions in the cache." default:"4096"`
}

func (explainCmd) Help() string {
	return `Examples:
  trit explain
  trit explain --preset 2b4t --tokens 512
  TRIT_CPU=-avx512 trit explain --preset nano`
}

func (c *explainCmd) Run(e *env) error {
	g, packed, err := c.declare(max(c.Tokens, 512))
	if err != nil {
		return err
	}
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	p := passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, c.Context, 32, graph.F32), MaxRows: c.Tokens, Packed: packed})
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
		syms[i] = c.Tokens
		if s.Name == passes.RowsSym {
			syms[i] = 1
		}
	}
	if err := prog.Explain(e.out, syms...); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return nil
}
