package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/internal/jsonl"
	"github.com/trit-ml/trit/models/chat"
)

type batchCmd struct {
	In       string `arg:"" help:"JSONL file; each line has id (optional) and prompt, messages or tokens." type:"existingfile"`
	Out      string `arg:"" help:"JSONL file to append to; lines whose id is there already are not done again."`
	Model    string `help:"Checkpoint folder or file, or a name on the hub; the embedded model by default." placeholder:"MODEL"`
	Tokens   int    `help:"Most tokens of an answer." short:"n" default:"128"`
	Parallel int    `help:"Sequences generated at once." default:"16"`
	Context  int    `help:"Most tokens of prompt and answer; the model's own context by default."`
	samplingFlags
	adapterFlag
	cacheFlag
	deviceFlags
}

func (batchCmd) Help() string {
	return `Answers are the same as one by one, in the order in which they finish. Kill it and start it again: it goes on where it was.
Example:
  trit batch prompts.jsonl answers.jsonl --model MODEL --greedy`
}

// batchIn is a line of the input, batchOut of the output.
type batchIn struct {
	ID       string         `json:"id"`
	Prompt   string         `json:"prompt"`
	Messages []chat.Message `json:"messages"`
	Tokens   []int32        `json:"tokens"`
}

type batchOut struct {
	ID     string  `json:"id"`
	Text   string  `json:"text"`
	Tokens []int32 `json:"tokens"`
	Stop   string  `json:"stop,omitempty"` // "end", "length" or "context"
	Error  string  `json:"error,omitempty"`
}

func (c *batchCmd) Run(e *env) error {
	if c.Parallel < 1 || c.Tokens < 1 {
		return fmt.Errorf("--parallel %d and --tokens %d must be positive", c.Parallel, c.Tokens)
	}
	done, out, err := openAnswers(c.Out)
	if err != nil {
		return err
	}
	defer out.Close()
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	eng, err := m.Start(e.ctx, dev, engine.Shape{Cache: c.elem(), Context: c.Context, Seqs: c.Parallel, Guess: c.Guess})
	if err != nil {
		return err
	}
	defer eng.Close()
	in, err := os.Open(c.In)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := jsonl.NewReader(c.In, in)
	w := json.NewEncoder(out)
	count := 0
	next := func() (engine.Job, bool, error) {
		for {
			q, ok, err := nextLine(lines)
			if err != nil || !ok {
				return engine.Job{}, false, err
			}
			if done[q.ID] {
				continue
			}
			done[q.ID] = true
			job := engine.Job{ID: q.ID}
			job.Prompt, job.Err = prompt(e, eng, q)
			job.MaxTokens, job.Sampling, job.Stops = c.Tokens, c.sampling(), m.Stops()
			return job, true, nil
		}
	}
	err = eng.Batch(e.ctx, c.Parallel, next, func(a engine.Answer) error {
		o := batchOut{ID: a.ID, Tokens: a.IDs, Stop: a.Stop}
		if a.Err != nil {
			o.Error = a.Err.Error()
		}
		if m.Tokenizer != nil {
			o.Text = m.Tokenizer.Decode(a.IDs)
		}
		count++
		return w.Encode(o)
	})
	fmt.Fprintf(e.err, "%d answers by %s on %s\n", count, m.Name, dev.Name())
	return errors.Join(err, out.Sync())
}

// prompt turns an input line into tokens.
func prompt(e *env, eng *engine.Engine, q batchIn) ([]int32, error) {
	switch {
	case len(q.Tokens) > 0:
		return q.Tokens, nil
	case len(q.Messages) > 0:
		f, _, err := eng.Model.ChatFormat()
		if err != nil {
			return nil, err
		}
		return f.Encode(e.ctx, q.Messages)
	}
	return eng.Encode(q.Prompt)
}

// nextLine reads a line of the input; one without an id gets its number.
func nextLine(r *jsonl.Reader) (q batchIn, ok bool, err error) {
	if ok, err = r.Next(&q); ok && q.ID == "" {
		q.ID = fmt.Sprint(r.Line())
	}
	return q, ok, err
}

// openAnswers opens the output for appending and returns the ids it has.
func openAnswers(path string) (map[string]bool, *os.File, error) {
	done := map[string]bool{}
	f, err := jsonl.Append(path, func(line []byte) error {
		var o batchOut
		if err := json.Unmarshal(line, &o); err != nil || o.ID == "" {
			return fmt.Errorf("not a line that trit batch wrote; give another file (%v)", err)
		}
		done[o.ID] = true
		return nil
	})
	return done, f, err
}
