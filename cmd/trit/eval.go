package main

import (
	"fmt"
	"os"

	"github.com/trit-ml/trit/engine"
)

type evalCmd struct {
	PPL     pplCmd     `cmd:"" name:"ppl" help:"Perplexity and bits per byte of a text file."`
	Choices choicesCmd `cmd:"" help:"Accuracy on multiple-choice questions, in JSONL or as lm-evaluation-harness logs them."`
	Heldout heldoutCmd `cmd:"" help:"Bits per byte of a run on its held-out files, beside gzip."`
}

type pplCmd struct {
	Model   string `arg:"" help:"Checkpoint folder or file, or '-' for the embedded model."`
	File    string `arg:"" help:"Text file." type:"existingfile"`
	Context int    `help:"Tokens in a window; the model's own context by default."`
	Limit   int    `help:"Score only this many bytes of the file; 0: all."`
	adapterFlag
	cacheFlag
	deviceFlags
}

func (pplCmd) Help() string {
	return "Examples:\n  trit eval ppl - main.go\n  trit eval ppl --cache i8 - main.go"
}

func (c *pplCmd) Run(e *env) error {
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	if c.Limit > 0 && c.Limit < len(text) {
		text = text[:c.Limit]
	}
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	eng, err := m.Start(e.ctx, dev, engine.Shape{Cache: c.elem(), Context: c.Context, Chunk: 256})
	if err != nil {
		return err
	}
	defer eng.Close()
	ids, err := m.TextIDs(string(text))
	if err != nil {
		return err
	}
	sc, err := eng.Score(e.ctx, ids, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s on %s: %d bytes, %d tokens, perplexity %.4f, %.4f nats/token, %.4f bits/byte\n",
		m.Name, dev.Name(), len(text), sc.Tokens, sc.Perplexity(), sc.Nats/float64(max(sc.Tokens, 1)), sc.BitsPerByte(len(text)))
	return nil
}
