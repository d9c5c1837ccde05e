package main

import (
	"fmt"
	"strings"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/train"
)

type convertCmd struct {
	Src      string `arg:"" help:"Checkpoint folder or GGUF file."`
	Dst      string `arg:"" help:"Folder or file to write; it must not exist."`
	To       string `help:"Form to write: ${forms}. By default offline, or i2_s if DST ends in .gguf."`
	Arch     string `help:"GGUF architecture name; by default it follows the model."`
	Float    string `help:"Type of embedding and head: f32, f16 or bf16; by default as they are."`
	Rounding bool   `help:"Allow types that do not hold every value exactly."`
	Best     bool   `help:"Of a run folder of trit train: the best checkpoint by validation, in place of the newest."`
	Verify   bool   `help:"Read the result again and compare every value."`
	Adapter  string `help:"Merge a low-rank adapter into the weights, which are ternary again after it: most of a small one is lost, and how much is said." placeholder:"DIR"`
}

func (convertCmd) Help() string {
	return "Examples:\n  trit convert runs/mine mine.gguf --verify\n  trit convert mine.gguf mine-hf --to offline\n  trit convert runs/mine small --float bf16 --rounding --best\n  trit convert runs/mine merged --to online --adapter runs/tuned"
}

func (c *convertCmd) Run(e *env) error {
	o := checkpoint.ConvertOptions{To: c.To, Arch: c.Arch, Rounding: c.Rounding, Verify: c.Verify}
	if o.To == "" {
		o.To = "offline"
		if strings.HasSuffix(c.Dst, ".gguf") {
			o.To = "i2_s"
		}
	}
	if c.Float != "" {
		f, err := graph.ParseDType(c.Float)
		if err != nil {
			return err
		}
		o.Float = f
	}
	src := c.Src
	if c.Best {
		weights, err := train.Weights(c.Src, true)
		if err != nil {
			return err
		}
		src = weights
	}
	m, err := resolve(e, src)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, w := range m.Checkpoint.Warnings() {
		fmt.Fprintln(e.err, "note:", w)
	}
	if c.Adapter != "" {
		if err := c.merge(e, m); err != nil {
			return err
		}
	}
	if err := m.Translate(&o); err != nil {
		return err
	}
	if err := checkpoint.Convert(e.ctx, m.Checkpoint, c.Dst, o); err != nil {
		return err
	}
	verified := ""
	if c.Verify {
		verified = ", read back and equal"
	}
	fmt.Fprintf(e.out, "%s: %s%s\n", c.Dst, o.To, verified)
	return nil
}

// merge puts the adapter into the model's weights.
func (c *convertCmd) merge(e *env, m *engine.Model) error {
	a, err := adapter.Open(c.Adapter)
	if err != nil {
		return err
	}
	out, err := adapter.Merge(e.ctx, m.Checkpoint, a)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.err, "merged: %d of %d codes of the adapted projections change; %.0f %% of the adapter is lost in rounding (run the model with --adapter to keep all of it)\n",
		out.Changed, out.Codes, 100*min(out.Lost, 9.99))
	m.Checkpoint = out.Model
	return nil
}
