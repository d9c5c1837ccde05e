package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/trit-ml/trit/models/tokenizer"
)

type tokenizeCmd struct {
	Text     []string `arg:"" optional:"" help:"Text; standard input if none."`
	Model    string   `help:"Checkpoint, or a tokenizer file; the embedded model by default." placeholder:"PATH"`
	Specials bool     `help:"Text that spells a special token becomes that token."`
	BOS      bool     `help:"Put the beginning-of-text token in front."`
	IDs      bool     `name:"ids" help:"Print the ids only, separated by commas."`
	Decode   []int32  `help:"Decode ids instead." placeholder:"1,2,3"`
}

func (tokenizeCmd) Help() string {
	return "Examples:\n  trit tokenize \"func main() {\"\n  trit tokenize --model tokenizer.json --ids < file.txt\n  trit tokenize --decode 1,2,3"
}

func (c *tokenizeCmd) Run(e *env) error {
	t, err := openTokenizer(e, c.Model)
	if err != nil {
		return err
	}
	if len(c.Decode) > 0 {
		_, err := fmt.Fprintln(e.out, t.Decode(c.Decode))
		return err
	}
	text := strings.Join(c.Text, " ")
	if len(c.Text) == 0 {
		data, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		text = string(data)
	}
	var opt tokenizer.Option
	if c.Specials {
		opt |= tokenizer.Specials
	}
	if c.BOS {
		opt |= tokenizer.BOS
	}
	ids := t.Encode(nil, text, opt)
	if c.IDs {
		s := make([]string, len(ids))
		for i, id := range ids {
			s[i] = fmt.Sprint(id)
		}
		_, err := fmt.Fprintln(e.out, strings.Join(s, ","))
		return err
	}
	for _, id := range ids {
		fmt.Fprintf(e.out, "%8d  %q\n", id, t.Token(id))
	}
	_, err = fmt.Fprintf(e.out, "%d tokens, %d bytes\n", len(ids), len(text))
	return err
}

// openTokenizer reads a tokenizer file, or the tokenizer of a checkpoint.
func openTokenizer(e *env, path string) (*tokenizer.Tokenizer, error) {
	if path != "" {
		if info, err := os.Stat(path); err == nil && !info.IsDir() && !strings.HasSuffix(path, ".gguf") {
			return tokenizer.Load(path)
		}
	}
	m, err := resolve(e, path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.Tokenizer == nil {
		return nil, errors.New(m.Name + " has no tokenizer")
	}
	return m.Tokenizer, nil
}
