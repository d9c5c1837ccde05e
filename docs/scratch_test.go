package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScratchTutorial runs docs/scratch.md with few steps on a small text.
func TestScratchTutorial(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	for _, name := range []string{"scratch.md", "architecture.md", "performance.md", "../README.md"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	recipe, err := os.ReadFile("recipes/shakespeare-char-cpu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("scratch.md")
	if err != nil {
		t.Fatal(err)
	}
	_, questions, _ := strings.Cut(string(page), "```json\n")
	questions, _, ok := strings.Cut(questions, "```")
	if !ok {
		t.Fatal("the page shows no questions")
	}
	for name, data := range map[string]string{"tinyshakespeare.txt": text.String(), "shakespeare-char-cpu.yaml": string(recipe), "questions.jsonl": questions} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out := runTutorial(t, "scratch.md", dir,
		"--data tinyshakespeare.txt --out", "--steps 6 --warmup 2 --data tinyshakespeare.txt --out",
		"--data tinyshakespeare.txt --twin", "--steps 3 --warmup 1 --data tinyshakespeare.txt --twin",
		"--model runs/first", "-n 20 --model runs/first")
	for command, want := range map[string]string{
		"trit eval heldout runs/first":                               "training form",
		"trit eval heldout runs/first --model first.gguf --windows":  "inference form",
		"trit train --twin --resume --out runs/gap":                  "mean ± sd over seeds",
		"trit eval choices first.gguf questions.jsonl --out results": "acc_bytes",
		"trit convert runs/first first.gguf":                         "i2_s",
	} {
		if !strings.Contains(out[command], want) {
			t.Errorf("%s: no %q in %q", command, want, out[command])
		}
	}
}

// TestRecipes checks that each recipe is a configuration.
func TestRecipes(t *testing.T) {
	trit, err := program()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("recipes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recipes: %v", len(files), err)
	}
	for _, file := range files {
		out, err := exec.CommandContext(t.Context(), trit, "train", "--config", file, "--data", "x", "--out", "x", "--print-config").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "seeds: [1, 2, 3]") {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
