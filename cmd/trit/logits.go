package main

import (
	"fmt"

	"github.com/trit-ml/trit/internal/safetensors"
)

type logitsCmd struct {
	Model  string  `arg:"" optional:"" help:"Checkpoint folder or file; the embedded model by default."`
	Tokens []int32 `help:"Token ids." required:"" placeholder:"1,2,3"`
	Out    string  `help:"Safetensors file to write: tensor logits, f32 [tokens, vocabulary]." required:"" placeholder:"FILE"`
	Hidden bool    `help:"Also write hidden.N, the residual stream before layer N and after the last."`
	adapterFlag
	deviceFlags
}

func (logitsCmd) Help() string {
	return "Example:\n  trit logits MODEL --tokens 1,2,3 --out logits.safetensors --hidden"
}

func (c *logitsCmd) Run(e *env) error {
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	logits, hidden, err := m.Logits(e.ctx, dev, c.Tokens, c.Hidden)
	if err != nil {
		return err
	}
	entries := []safetensors.Entry{safetensors.EntryOf("logits", logits)}
	for i, h := range hidden {
		entries = append(entries, safetensors.EntryOf(fmt.Sprintf("hidden.%d", i), h))
	}
	if err := safetensors.WriteFile(c.Out, entries, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: logits %v of %s on %s\n", c.Out, logits.Dims, m.Name, dev.Name())
	return nil
}
