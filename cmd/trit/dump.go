package main

import (
	"fmt"
	"io"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
)

type dumpCmd struct {
	subject
	Pipeline string `help:"Which pipeline: infer or train." enum:"infer,train" default:"infer"`
	After    string `help:"Stop after this pass; 'declared' is before the first, 'last' the end." default:"last"`
	Scope    string `help:"Only this scope, such as model.layers.0.self_attn."`
	Format   string `help:"text, dot or svg." enum:"text,dot,svg" default:"text"`
	List     bool   `help:"List the passes of the pipeline and the scopes of the graph."`
	Tokens   int    `help:"Most tokens in a step." default:"512"`
	Forward  string `help:"train: float (fake quantization) or integer (products of codes)." enum:"float,integer" default:"float"`
	BF16     bool   `name:"bf16" help:"train: activations and their gradients in bf16."`
}

func (dumpCmd) Help() string {
	return `Examples:
  trit dump --scope model.layers.0
  trit dump --preset 2b4t --after lower-bitlinear --scope model.layers.0.mlp
  trit dump --pipeline train --after grad --scope grad.model.layers.0.mlp
  trit dump --pipeline train --bf16 --forward integer --scope model.layers.0.mlp
  trit dump --preset nano --scope model.layers.0 --format svg > layer.svg`
}

func (c *dumpCmd) Run(e *env) error {
	g, packed, err := c.declare(e, c.Tokens)
	if err != nil {
		return err
	}
	p := passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, 512, 32, graph.F32), MaxRows: c.Tokens, Packed: packed})
	if c.Pipeline == "train" {
		if g, err = withLoss(g); err != nil {
			return err
		}
		p = passes.Train(passes.TrainOptions{AdamW: passes.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1}, Integer: c.Forward == "integer", BF16: c.BF16})
	}
	if g, err = afterPass(g, p, c.After); err != nil {
		return err
	}
	if c.List {
		return list(e.out, p, g)
	}
	if c.Scope != "" {
		if g, err = g.Filter(c.Scope); err != nil {
			return err
		}
	}
	switch c.Format {
	case "dot":
		return writeDOT(e.out, g)
	case "svg":
		return writeSVG(e.out, g)
	}
	_, err = g.WriteTo(e.out)
	return err
}

// withLoss adds the training loss to a declared model.
func withLoss(g *graph.Graph) (*graph.Graph, error) {
	b, m := graph.Reopen(g)
	logits := m[g.Outs[0]]
	targets := b.Input("targets", graph.I32, graph.Dim{Sym: layer.TokensSym, Mul: 1})
	return b.Finish(b.Name(ops.CrossEntropy(logits, targets), "loss"))
}

func list(w io.Writer, p passes.Pipeline, g *graph.Graph) error {
	fmt.Fprintln(w, "passes:")
	fmt.Fprintln(w, "  declared")
	for _, n := range p.Names() {
		fmt.Fprintln(w, " ", n)
	}
	fmt.Fprintln(w, "scopes:")
	seen := map[string]bool{}
	for _, n := range g.Nodes {
		if n.Scope != "" && !seen[n.Scope] {
			seen[n.Scope] = true
			fmt.Fprintln(w, " ", n.Scope)
		}
	}
	return nil
}
