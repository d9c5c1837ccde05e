package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/eval"
)

type choicesCmd struct {
	Model     string   `arg:"" help:"Checkpoint folder or file, a name on the hub, or '-' for the embedded model."`
	Files     []string `arg:"" help:"JSONL files of questions, or samples that lm-evaluation-harness logged." type:"existingfile"`
	Out       string   `help:"Folder for each question's log-likelihoods; a run that was killed goes on from there." placeholder:"DIR"`
	Delimiter string   `help:"Text between context and choice, in files of questions." default:" "`
	Limit     int      `help:"Score only the first questions of each file; 0: all."`
	Parallel  int      `help:"Choices scored at once." default:"16"`
	Context   int      `help:"Most tokens of a question; what the files need, up to the model's own context, by default."`
	JSON      bool     `help:"Print JSON instead of a table." name:"json"`
	adapterFlag
	deviceFlags
}

func (choicesCmd) Help() string {
	return `A line is {"context": "The sky is", "choices": ["blue", "green"], "gold": 0}, or one that lm-eval run --log_samples wrote. acc takes the likeliest choice, acc_norm the likeliest per character, acc_bytes per byte, each ± its standard error.
Examples:
  trit eval choices - questions.jsonl
  trit eval choices MODEL arc.jsonl samples_hellaswag.jsonl --out results`
}

func (c *choicesCmd) Run(e *env) error {
	if c.Parallel < 1 {
		return fmt.Errorf("--parallel %d must be positive", c.Parallel)
	}
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	var tasks []*eval.Prepared
	names := map[string]bool{}
	longest := 1
	for _, file := range c.Files {
		p, err := c.read(m, file)
		if err != nil {
			return err
		}
		if name := taskName(file); names[name] {
			return fmt.Errorf("two files are called %s: their results would have one name", name)
		} else {
			names[name] = true
		}
		tasks, longest = append(tasks, p), max(longest, p.Longest())
	}
	if c.Context == 0 {
		c.Context = min(longest, m.DefaultShape().Context)
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o777); err != nil {
			return err
		}
	}
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	// Kernels are chosen for the longest step. With as many sequences as fill it,
	// it has one length, and results the same bits, whatever runs at once.
	const step = 256
	seqs := max(c.Parallel+1, (step+c.Context-1)/c.Context)
	eng, err := m.Start(e.ctx, dev, engine.Shape{Context: c.Context, Seqs: seqs, Chunk: step})
	if err != nil {
		return err
	}
	defer eng.Close()
	var sums []eval.Summary
	for i, p := range tasks {
		name, out := taskName(c.Files[i]), ""
		if c.Out != "" {
			out = filepath.Join(c.Out, name+".jsonl")
		}
		bar := newCountBar(e.err, name)
		results, err := p.Score(e.ctx, eng, out, bar.set)
		bar.close()
		if err != nil {
			return err
		}
		sums = append(sums, eval.Summarize(name, results))
	}
	return c.print(e, sums)
}

func (c *choicesCmd) read(m *engine.Model, file string) (*eval.Prepared, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	items, err := eval.Read(file, f, eval.Options{Delimiter: c.Delimiter})
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if c.Limit > 0 {
		items = items[:min(c.Limit, len(items))]
	}
	return eval.Prepare(m, items)
}

// taskName is a file's name without its ending.
func taskName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

func (c *choicesCmd) print(e *env, sums []eval.Summary) error {
	if c.JSON {
		w := json.NewEncoder(e.out)
		w.SetIndent("", "  ")
		return w.Encode(sums)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "task\tn\tacc\tacc_norm\tacc_bytes\tchance")
	for _, s := range sums {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%.4f\n", s.Task, s.N, s.Acc, s.AccNorm, s.AccBytes, s.Chance)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range sums {
		if s.Cut > 0 {
			fmt.Fprintf(e.out, "%s: %d contexts lost their beginning to fit into %d tokens\n", s.Task, s.Cut, c.Context)
		}
	}
	return nil
}
