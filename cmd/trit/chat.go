package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/trit-ml/trit/engine"
)

type chatCmd struct {
	Model   string `arg:"" optional:"" help:"Checkpoint folder or file, or a name on the hub; the embedded model by default."`
	System  string `help:"System message."`
	Tokens  int    `help:"Most tokens of an answer." short:"n" default:"512"`
	Context int    `help:"Most tokens of the conversation; the model's own context by default."`
	samplingFlags
	adapterFlag
	cacheFlag
	deviceFlags
	in io.Reader // standard input, unless a test says otherwise
}

func (chatCmd) Help() string {
	return `A line is a message; one that ends in a backslash goes on. /new starts again, /quit or the end of input leaves. Ctrl-C stops the answer, not the program.
Example:
  trit chat microsoft/bitnet-b1.58-2B-4T --system "Answer briefly."`
}

func (c *chatCmd) Run(e *env) error {
	m, err := c.resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	format, note, err := m.ChatFormat()
	if err != nil {
		return err
	}
	if note != "" {
		fmt.Fprintln(e.err, "note:", note)
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
	talk, err := eng.Converse(format, c.System)
	if err != nil {
		return err
	}
	defer talk.Close()
	fmt.Fprintf(e.err, "%s on %s. /new starts again, /quit leaves.\n", m.Name, dev.Name())
	in := c.in
	if in == nil {
		in = os.Stdin
	}
	lines := bufio.NewReader(in)
	for {
		fmt.Fprint(e.out, "> ")
		text, err := message(lines)
		if err != nil {
			fmt.Fprintln(e.out)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch strings.TrimSpace(text) {
		case "":
			continue
		case "/quit":
			return nil
		case "/new":
			if err := talk.Reset(); err != nil {
				return err
			}
			continue
		}
		if err := c.answer(e, talk, text); err != nil {
			return err
		}
	}
}

// answer prints one answer. Ctrl-C ends it and nothing else.
func (c *chatCmd) answer(e *env, talk *engine.Conversation, text string) error {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(e.ctx), os.Interrupt)
	defer stop()
	st, err := talk.Say(ctx, text, c.sampling(), c.Tokens, func(s string) error {
		_, err := fmt.Fprint(e.out, s)
		return err
	})
	fmt.Fprintln(e.out)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.err, "[%d tokens, %.0f tokens/s]\n", st.Tokens, st.Rate())
	return nil
}

// message reads a line, and the next ones while they end in a backslash.
func message(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return b.String(), err
		}
		line = strings.TrimRight(line, "\r\n")
		more := strings.HasSuffix(line, `\`)
		b.WriteString(strings.TrimSuffix(line, `\`))
		if !more {
			return b.String(), nil
		}
		b.WriteByte('\n')
	}
}
