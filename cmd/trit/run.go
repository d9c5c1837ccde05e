package main

import (
	"fmt"
	"strings"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/runtime"
)

// samplingFlags choose how tokens are drawn.
type samplingFlags struct {
	Temperature float32 `help:"Randomness; 0 always takes the likeliest token." default:"0.6"`
	TopK        int     `help:"Draw from the k likeliest tokens; 0: from all." default:"40"`
	TopP        float32 `help:"Draw from the likeliest tokens that reach this probability." default:"0.95"`
	MinP        float32 `help:"Drop tokens less likely than this share of the likeliest."`
	Repeat      float32 `help:"Penalty for tokens of the recent text; 1: none." default:"1"`
	Seed        uint64  `help:"Random seed; equal seeds give equal text." default:"1"`
	Greedy      bool    `help:"The likeliest token always; as --temperature 0."`
	Guess       int     `help:"Most tokens guessed ahead where the text repeats itself and that saves time; the text stays the same. 0: none." default:"8"`
}

func (f samplingFlags) sampling() runtime.Sampling {
	s := runtime.Sampling{Temperature: f.Temperature, TopK: f.TopK, TopP: f.TopP, MinP: f.MinP, RepeatPenalty: f.Repeat, Seed: f.Seed}
	if f.Greedy {
		s.Temperature = 0
	}
	return s
}

type runCmd struct {
	Prompt  []string `arg:"" optional:"" help:"Text to continue."`
	Model   string   `help:"Checkpoint folder or file; the embedded model by default." placeholder:"PATH"`
	Tokens  int      `help:"Most tokens to generate." short:"n" default:"128"`
	Context int      `help:"Most tokens of prompt and answer; the model's own by default."`
	Quiet   bool     `help:"Print the continuation only." short:"q"`
	samplingFlags
	adapterFlag
	cacheFlag
	deviceFlags
}

func (runCmd) Help() string {
	return `Examples:
  trit run "func (b *Buffer) Write("
  trit run --model runs/mine --greedy -n 64 "Once upon a time"
  trit run --adapter runs/tuned "User: Hi"
  trit run --cache i8 "func (b *Buffer) Write("
  trit run --guess 0 "func ("`
}

func (c *runCmd) Run(e *env) error {
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, w := range m.Checkpoint.Warnings() {
		fmt.Fprintln(e.err, "note:", w)
	}
	dev, err := c.openAll(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	eng, err := m.Start(e.ctx, dev, engine.Shape{Cache: c.elem(), Context: c.Context, Guess: c.Guess})
	if err != nil {
		return err
	}
	defer eng.Close()
	text := strings.Join(c.Prompt, " ")
	prompt, err := eng.Encode(text)
	if err != nil {
		return err
	}
	stream := m.Tokenizer.Stream()
	if !c.Quiet {
		fmt.Fprint(e.out, text)
	}
	st, err := eng.Generate(e.ctx, engine.Request{Prompt: prompt, MaxTokens: c.Tokens, Stops: m.Stops(), Sampling: c.sampling()}, func(id int32) error {
		_, err := fmt.Fprint(e.out, stream.Push(id))
		return err
	})
	fmt.Fprintln(e.out, stream.Flush())
	if !c.Quiet {
		fmt.Fprintf(e.err, "\n%s on %s: %d prompt tokens in %.0f ms, %d tokens at %.0f tokens/s (loaded in %.0f ms)\n",
			m.Name, dev.Name(), st.Prompt, 1e3*st.Prefill.Seconds(), st.Tokens, st.Rate(), 1e3*eng.Load.Seconds())
		if st.Guessed > 0 {
			fmt.Fprintf(e.err, "%d of %d tokens guessed ahead were right\n", st.Right, st.Guessed)
		}
	}
	return err
}
