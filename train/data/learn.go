package data

import (
	"context"
	"fmt"
	"io"

	"github.com/trit-ml/trit/models/tokenizer"
)

// Separator is the special token in front of every document. It ends the
// document before, so a model that writes it has finished.
const Separator = "<|end_of_text|>"

// Learn trains a byte-level BPE on the training documents. progress, if set, is
// called with the bytes read.
func (c *Corpus) Learn(ctx context.Context, vocab int, split tokenizer.Split, progress func(done, total int64)) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: vocab, Split: split, Specials: []string{Separator}})
	if err != nil {
		return nil, err
	}
	var done int64
	total := Bytes(c.Train)
	for _, p := range c.Train {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.read(p, func(r io.Reader) error { return t.Feed(r) }); err != nil {
			return nil, err
		}
		done += p.Size
		if progress != nil {
			progress(done, total)
		}
	}
	return t.Train()
}

// read hands a document's text to f and checks that it has not shrunk.
func (c *Corpus) read(p Part, f func(io.Reader) error) error {
	r, err := c.Open(p)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer r.Close()
	n := &counter{r: r}
	if err := f(n); err != nil {
		return fmt.Errorf("data: %s: %w", p.Rel, err)
	}
	if n.n != p.Size {
		return fmt.Errorf("data: %s changed while it was read: %d of %d bytes", p.Rel, n.n, p.Size)
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
