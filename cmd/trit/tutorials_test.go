package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/internal/llamatest"
	"github.com/trit-ml/trit/models/tokenizer"
)

// TestTutorials runs what the tutorials tell a reader to type, in a folder that
// has what they presume, at a size that takes seconds: training commands get a few
// steps and short windows. Blocks marked "sh" are commands, one a line; a block
// marked "jsonl NAME" is the file of that name.
func TestTutorials(t *testing.T) {
	docs, err := filepath.Abs(filepath.Join("..", "..", "docs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	writeLlama(t, "llama")
	if err := os.Mkdir("texts", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		text := strings.Repeat(fmt.Sprintf("Once upon a time there were %d trits. ", i), 20)
		if err := os.WriteFile(fmt.Sprintf("texts/%d.txt", i), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	small := []string{"--window", "96", "--rows", "2", "--validate-windows", "2", "--threads", "1"}
	ok(t, nil, append([]string{"train", "--init", "llama", "--data", "texts", "--out", "base", "--steps", "4"}, small...)...)
	for name, least := range map[string]int{"conversion.md": 4, "finetuning.md": 7} {
		text, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for i, part := range strings.Split(string(text), "```") {
			kind, body, _ := strings.Cut(part, "\n")
			if file, is := strings.CutPrefix(kind, "jsonl "); is && i%2 == 1 {
				if err := os.WriteFile(file, []byte(body), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if kind != "sh" || i%2 == 0 {
				continue
			}
			for line := range strings.Lines(body) {
				args := shellWords(strings.TrimSpace(line))
				if len(args) == 0 {
					continue
				}
				if args[0] != "trit" {
					t.Fatalf("%s: %q is no command of trit", name, line)
				}
				args = args[1:]
				if args[0] == "train" {
					args = append(args, small...)
					steps := "4"
					if strings.Contains(line, "--resume") {
						steps = "6"
					}
					args = append(args, "--steps", steps)
				}
				ok(t, nil, args...)
				ran++
			}
		}
		if ran < least {
			t.Errorf("%s: only %d commands ran", name, ran)
		}
	}
	// What the adapter is for: the model that it names runs with it and without.
	out := ok(t, []string{"lost in rounding"}, "convert", "base", "merged2", "--to", "offline", "--adapter", "runs/lora")
	if !strings.Contains(out, "codes of the adapted projections") {
		t.Error(out)
	}
	ok(t, []string{"tokens of held-out answers"}, "eval", "heldout", "runs/lora")
	if out, code := trit(t, "run", "--adapter", "base", "x"); code == 0 || !strings.Contains(out, "adapter_config.json") {
		t.Errorf("a model as an adapter: exit %d, %s", code, out)
	}
}

// shellWords splits a line at blanks outside of double quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// writeLlama makes a tiny random Llama with a tokenizer of bytes, as transformers
// would write it.
func writeLlama(t *testing.T, dir string) {
	t.Helper()
	tok, err := tokenizer.NewBytes("<|end_of_text|>", "<|eot_id|>")
	if err == nil {
		err = tok.Save(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	llamatest.Model{Vocab: 258, Hidden: 32, FFN: 64, Layers: 2, Heads: 2, KVHeads: 1, Theta: 10000, Eps: 1e-6, Tied: true, Std: 0.1, Seed: 1}.Write(t, dir)
}
