package main

import (
	"fmt"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
)

type convertCmd struct {
	Src      string `arg:"" help:"Checkpoint folder or GGUF file."`
	Dst      string `arg:"" help:"Folder or file to write; it must not exist."`
	To       string `help:"Form to write: ${forms}. By default offline, or i2_s if DST ends in .gguf."`
	Arch     string `help:"GGUF architecture name; by default it follows the model."`
	Float    string `help:"Type of embedding and head in a GGUF: f32, f16 or bf16; by default as they are."`
	Rounding bool   `help:"Allow types that do not hold every value exactly."`
	Verify   bool   `help:"Read the result again and compare every value."`
}

func (convertCmd) Help() string {
	return "Examples:\n  trit convert runs/mine mine.gguf --verify\n  trit convert mine.gguf mine-hf --to offline"
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
	m, err := resolve(e, c.Src)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, w := range m.Checkpoint.Warnings() {
		fmt.Fprintln(e.err, "note:", w)
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
