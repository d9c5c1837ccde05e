package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

type heldoutCmd struct {
	Run_    string `arg:"" name:"run" help:"Run folder of trit train." type:"existingdir"`
	Model   string `help:"Score this model, in inference form, in place of the run's weights in training form." placeholder:"PATH"`
	Best    bool   `help:"Score the best checkpoint by validation in place of the newest."`
	Context int    `help:"Tokens in a window of --model; the model's own context by default."`
	Windows bool   `help:"Score --model in the run's own windows: the figure that its validation gives, for what was exported."`
	Cat     string `help:"Also write the held-out texts, one after another, to a file." placeholder:"FILE"`
	deviceFlags
}

func (heldoutCmd) Help() string {
	return `The same files are scored by gzip -9 for comparison.
Example:
  trit eval heldout runs/mine --cat held.txt && xz -9k held.txt
  trit eval heldout runs/mine --model mine.gguf --windows`
}

// Run scores a run's weights on its held-out files and compresses the same
// files.
func (c *heldoutCmd) Run(e *env) error {
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	cfg, err := train.SavedConfig(c.Run_)
	if err != nil {
		return err
	}
	if cfg.Data.Format == data.Chat {
		return c.conversations(e, dev)
	}
	corpus, err := data.Scan(cfg.Data)
	if err != nil {
		return err
	}
	size := data.Bytes(corpus.Valid)
	fmt.Fprintf(e.out, "%d held-out files, %d bytes\n", len(corpus.Valid), size)
	packed, err := c.compress(corpus)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "gzip -9: %.4f bits/byte\n", float64(packed)*8/float64(size))
	if c.Model != "" && c.Windows {
		return c.windows(e, dev, cfg.Window)
	}
	if c.Model != "" {
		return c.model(e, dev, corpus, size)
	}
	sc, err := train.Evaluate(e.ctx, c.Run_, train.EvaluateOptions{Device: dev, Best: c.Best})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: %.6f nats/token, %.4f bits/byte in training form, windows of %d tokens\n", c.Run_, sc.Loss(), sc.BitsPerByte(), cfg.Window)
	return nil
}

// conversations scores a run's weights on the answers of its held-out
// conversations.
func (c *heldoutCmd) conversations(e *env, dev devices.Device) error {
	if c.Model != "" || c.Cat != "" {
		return fmt.Errorf("%s was trained on conversations: they are scored in training form alone, without --model and --cat", c.Run_)
	}
	sc, err := train.Evaluate(e.ctx, c.Run_, train.EvaluateOptions{Device: dev, Best: c.Best})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: %.6f nats/token over %d tokens of held-out answers, in training form\n", c.Run_, sc.Loss(), sc.Count)
	return nil
}

// compress returns the size of all held-out texts as one gzip stream, and
// copies them to --cat.
func (c *heldoutCmd) compress(corpus *data.Corpus) (int, error) {
	var n counter
	z, err := gzip.NewWriterLevel(&n, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	var w io.Writer = z
	var cat *os.File
	if c.Cat != "" {
		if cat, err = os.Create(c.Cat); err != nil {
			return 0, err
		}
		w = io.MultiWriter(z, cat)
	}
	for _, p := range corpus.Valid {
		if err = copyPart(w, corpus, p); err != nil {
			break
		}
	}
	err = errors.Join(err, z.Close())
	if cat != nil {
		err = errors.Join(err, cat.Close())
	}
	return int(n), err
}

func copyPart(w io.Writer, corpus *data.Corpus, p data.Part) error {
	r, err := corpus.Open(p)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

// counter counts what is written to it.
type counter int

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// model scores a checkpoint on the held-out files, each with a fresh context.
func (c *heldoutCmd) model(e *env, dev devices.Device, corpus *data.Corpus, size int64) error {
	m, err := resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	eng, err := m.Start(e.ctx, dev, engine.Shape{Context: c.Context, Chunk: 256})
	if err != nil {
		return err
	}
	defer eng.Close()
	var total engine.Score
	for _, p := range corpus.Valid {
		r, err := corpus.Open(p)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		ids, err := m.TextIDs(string(text))
		if err != nil {
			return err
		}
		sc, err := eng.Score(e.ctx, ids, nil)
		if err != nil {
			return err
		}
		total.Nats, total.Tokens = total.Nats+sc.Nats, total.Tokens+sc.Tokens
	}
	fmt.Fprintf(e.out, "%s: %.4f bits/byte in inference form, windows of %d tokens that overlap by half\n", m.Name, total.BitsPerByte(int(size)), eng.Session.Context())
	return nil
}

// windows scores a checkpoint on what the run's validation scores.
func (c *heldoutCmd) windows(e *env, dev devices.Device, window int) error {
	m, err := resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	eng, err := m.Start(e.ctx, dev, engine.Shape{Context: window})
	if err != nil {
		return err
	}
	defer eng.Close()
	sc, err := train.Evaluate(e.ctx, c.Run_, train.EvaluateOptions{ScoreBatch: func(ctx context.Context, b *data.Batch) (float64, error) {
		sc, err := eng.ScoreTargets(ctx, b.Tokens, b.Seq, b.Targets)
		return sc.Nats, err
	}})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: %.6f nats/token, %.4f bits/byte in inference form, windows of %d tokens\n", m.Name, sc.Loss(), sc.BitsPerByte(), window)
	return nil
}
