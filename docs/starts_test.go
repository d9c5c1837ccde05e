package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/internal/llamatest"
	"github.com/trit-ml/trit/models/tokenizer"
)

// short replaces what makes the commands of these tutorials take long.
var short = []string{"--steps 2000", "--steps 4", "--window 256", "--window 96 --rows 2 --validate-windows 2 --threads 1"}

// llama makes a folder with a tiny random Llama, as transformers would write it,
// and some texts.
func llama(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tok, err := tokenizer.NewBytes("<|end_of_text|>", "<|eot_id|>")
	if err == nil {
		err = tok.Save(filepath.Join(dir, "llama"))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "texts"), 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	llamatest.Model{Vocab: 258, Hidden: 32, FFN: 64, Layers: 2, Heads: 2, KVHeads: 1, Theta: 10000, Eps: 1e-6, Tied: true, Std: 0.1, Seed: 1}.Write(t, filepath.Join(dir, "llama"))
	for i := range 6 {
		text := strings.Repeat(fmt.Sprintf("Once upon a time there were %d trits. ", i), 20)
		if err := os.WriteFile(filepath.Join(dir, "texts", fmt.Sprint(i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestConversionTutorial(t *testing.T) {
	out := runTutorial(t, "conversion.md", llama(t), append(short, "--quant-warmup-steps 500", "--quant-warmup-steps 2")...)
	if len(out) != 4 {
		t.Errorf("%d commands", len(out))
	}
	for command, text := range out {
		for prefix, want := range map[string]string{"trit train --init llama --teacher": "objective", "trit convert": "read back and equal"} {
			if strings.HasPrefix(command, prefix) && !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", command, want, text)
			}
		}
	}
}

func TestFinetuningTutorial(t *testing.T) {
	dir := llama(t)
	page, err := os.ReadFile("finetuning.md")
	if err != nil {
		t.Fatal(err)
	}
	_, talks, _ := strings.Cut(string(page), "```jsonl\n")
	talks, _, ok := strings.Cut(talks, "```")
	if !ok {
		t.Fatal("the page shows no conversations")
	}
	if err := os.WriteFile(filepath.Join(dir, "chat.jsonl"), []byte(talks), 0o666); err != nil {
		t.Fatal(err)
	}
	trit, err := program()
	if err != nil {
		t.Fatal(err)
	}
	base := exec.CommandContext(t.Context(), trit, "train", "--init", "llama", "--data", "texts", "--out", "base", "--steps", "4", "--window", "32", "--rows", "2", "--validate-windows", "2")
	base.Dir = dir
	if out, err := base.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out := runTutorial(t, "finetuning.md", dir, append(short[2:], "--steps 300", "--steps 4", "--steps 320", "--steps 6")...)
	if len(out) != 7 {
		t.Errorf("%d commands", len(out))
	}
	for command, text := range out {
		for prefix, want := range map[string]string{"trit train --resume": "step 6/6", "trit convert base merged": "of the adapter is lost in rounding", "trit run --adapter": "tokens/s"} {
			if strings.HasPrefix(command, prefix) && !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", command, want, text)
			}
		}
	}
}
