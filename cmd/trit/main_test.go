package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// trit runs the command as main would and returns its output.
func trit(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return o.String() + e.String(), code
}

// ok runs the command and fails the test unless it succeeds and prints want.
func ok(t *testing.T, want []string, args ...string) string {
	t.Helper()
	out, code := trit(t, args...)
	if code != 0 {
		t.Fatalf("trit %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("trit %s: no %q in\n%s", strings.Join(args, " "), w, out)
		}
	}
	return out
}

func TestHelp(t *testing.T) {
	ok(t, []string{"train", "dump", "explain"}, "--help")
	for _, verb := range []string{"run", "train", "dump", "explain", "plot", "bench", "version", "logits", "tokenize", "inspect", "convert", "doctor", "chat", "batch", "pull"} {
		out := ok(t, []string{"trit " + verb}, verb, "--help")
		if !strings.Contains(out, "Example") {
			t.Errorf("%s --help shows no example", verb)
		}
	}
}

func TestVersion(t *testing.T) { ok(t, []string{"trit ", "go1."}, "version") }

func TestDump(t *testing.T) {
	ok(t, []string{"fused.relu2_mlp", "return"}, "dump", "--preset", "nano", "--scope", "model.layers.0.mlp")
	ok(t, []string{"bitlinear(%"}, "dump", "--preset", "nano", "--after", "declared", "--scope", "model.layers.0.mlp")
	ok(t, []string{"adamw("}, "dump", "--preset", "nano", "--pipeline", "train", "--scope", "optimizer")
	ok(t, []string{"<svg", "</svg>"}, "dump", "--preset", "nano", "--scope", "model.layers.0", "--format", "svg")
	ok(t, []string{"digraph", "->"}, "dump", "--preset", "nano", "--scope", "model.layers.0", "--format", "dot")
	ok(t, []string{"kv-cache", "model.layers.1.mlp"}, "dump", "--preset", "nano", "--list")
	for _, bad := range [][]string{{"--after", "nonsense"}, {"--scope", "nowhere"}} {
		if out, code := trit(t, append([]string{"dump", "--preset", "nano"}, bad...)...); code == 0 || !strings.Contains(out, bad[1]) {
			t.Errorf("dump %v: exit %d, %s", bad, code, out)
		}
	}
}

func TestExplain(t *testing.T) {
	ok(t, []string{"program bitnet158 on ref", "arena"}, "explain", "--preset", "nano", "--device", "ref")
}

// TestTrainRunConvert is what a newcomer does: train on a folder, continue the
// run, generate, look at the checkpoint, convert it and generate again.
func TestTrainRunConvert(t *testing.T) {
	dir := t.TempDir()
	texts, runDir := filepath.Join(dir, "texts"), filepath.Join(dir, "run")
	if err := os.Mkdir(texts, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a.txt", "b.txt", "c.txt", "d.txt"} {
		text := strings.Repeat("the quick brown fox jumps over the lazy dog. ", 20+i)
		if err := os.WriteFile(filepath.Join(texts, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	small := []string{"--out", runDir, "--hidden", "32", "--ffn", "64", "--heads", "2", "--kv-heads", "1", "--layers", "2",
		"--tokenizer", "bytes", "--window", "32", "--rows", "4", "--validate-windows", "2"}
	ok(t, []string{"step 6/6", "saved"}, append([]string{"train", "--data", texts, "--steps", "6", "--holdout", "0.3"}, small...)...)
	if out, code := trit(t, append([]string{"train", "--data", texts, "--steps", "6"}, small...)...); code == 0 || !strings.Contains(out, runDir) {
		t.Errorf("a second run in the same folder: exit %d, %s", code, out)
	}
	ok(t, []string{"step 8/8"}, "train", "--resume", "--out", runDir, "--steps", "8")
	for _, name := range []string{"c.png", "c.svg"} {
		ok(t, []string{name}, "plot", runDir, "-o", filepath.Join(dir, name))
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 5000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if out, code := trit(t, "plot", texts); code == 0 || !strings.Contains(out, "not the folder of a training run") {
		t.Errorf("plot of texts: exit %d, %s", code, out)
	}
	text := ok(t, []string{"the quick", "tokens/s"}, "run", "--model", runDir, "--greedy", "-n", "12", "the quick")
	ok(t, []string{"masters", "valid:"}, "inspect", runDir, "--validate")
	ok(t, []string{"bits/byte"}, "eval", "ppl", runDir, filepath.Join(texts, "a.txt"))
	ok(t, []string{"116,104,101"}, "tokenize", "--model", runDir, "--ids", "the")
	gguf := filepath.Join(dir, "model.gguf")
	ok(t, []string{"i2_s, read back and equal"}, "convert", runDir, gguf, "--verify")
	again := ok(t, nil, "run", "--model", gguf, "--greedy", "-n", "12", "the quick")
	if first := func(s string) string { a, _, _ := strings.Cut(s, "\n\n"); return a }; first(text) != first(again) {
		t.Errorf("the converted model continues %q, the trained one %q", first(again), first(text))
	}
	ok(t, []string{"logits [3 "}, "logits", runDir, "--tokens", "1,2,3", "--hidden", "--out", filepath.Join(dir, "l.safetensors"))
}

func TestBench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	ok(t, []string{"pp16", "tg2 × 2"}, "bench", "--preset", "nano", "--prefill", "16", "--decode", "2", "--batch", "1,2", "--runs", "1", "--json", file)
	if data, err := os.ReadFile(file); err != nil || !bytes.Contains(data, []byte(`"tokens_per_second"`)) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestBenchTrain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "train.json")
	ok(t, []string{"d128/v32/64x16", "6N of peak"}, "bench", "--train", "--widths", "128", "--windows", "16", "--vocabs", "32", "--layers", "1", "--runs", "1", "--json", file)
	if data, err := os.ReadFile(file); err != nil || !bytes.Contains(data, []byte(`"planned_bytes"`)) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o, e bytes.Buffer
	if code := run(ctx, []string{"bench", "--preset", "nano"}, &o, &e); code != 130 {
		t.Errorf("exit %d: %s", code, e.String())
	}
}

func TestMistakes(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"run", "--model", "/does/not/exist", "x"}, {"run", "--device", "abacus", "x"}, {"run", "--device", "cuda:99", "x"}, {"run", "--device", "cuda:x", "x"}, {"dump", "--preset", "huge"}} {
		if out, code := trit(t, args...); code == 0 || !strings.Contains(out, "trit:") {
			t.Errorf("%v: exit %d, %s", args, code, out)
		}
	}
}

// TestChat talks to the embedded model.
func TestChat(t *testing.T) {
	var o, e bytes.Buffer
	c := chatCmd{Tokens: 8, samplingFlags: samplingFlags{Greedy: true}, deviceFlags: deviceFlags{Device: "auto"}, in: strings.NewReader("func \\\nmain\n\n/new\nagain\n")}
	if err := c.Run(&env{ctx: t.Context(), out: &o, err: &e}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(e.String(), "tokens/s]"); n != 2 {
		t.Errorf("%d answers\n%s%s", n, o.String(), e.String())
	}
}

// TestBatchGoesOn stops a batch after some answers and starts it again, with
// the last line of the output torn.
func TestBatchGoesOn(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	var lines strings.Builder
	for _, p := range []string{"package main", "func f(", "type T struct", "import (", "var x"} {
		lines.WriteString(`{"prompt":"` + p + `"}` + "\n")
	}
	if err := os.WriteFile(in, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	ok(t, []string{"5 answers"}, "batch", in, out, "--greedy", "-n", "6", "--parallel", "2")
	whole, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	if err := os.WriteFile(out, []byte(all[0]+all[1]+all[2][:9]), 0o644); err != nil {
		t.Fatal(err)
	}
	ok(t, []string{"3 answers"}, "batch", in, out, "--greedy", "-n", "6", "--parallel", "3")
	again, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all {
		if !strings.Contains(string(again), strings.TrimSpace(line)) {
			t.Errorf("no %s in\n%s", line, again)
		}
	}
}

func TestEvalChoices(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "go.jsonl")
	const text = `{"context": "func (b *Buffer) Write(p []byte) (n int, err", "choices": ["error)", "zebra"], "gold": "A"}
{"context": "\tif err != nil {\n\t\treturn", "choices": ["err", "xylophone"], "gold": 1}
`
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "results")
	first := ok(t, []string{"go", "0.5000 ± 0.5000", "acc_norm"}, "eval", "choices", "-", file, "--out", out)
	if again := ok(t, nil, "eval", "choices", "-", file, "--out", out, "--parallel", "1"); again != first {
		t.Errorf("started again: %s, first %s", again, first)
	}
	ok(t, []string{`"acc_bytes"`, `"stderr": 0.5`}, "eval", "choices", "-", file, "--json")
	if err := os.WriteFile(file, []byte(text+"{\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, code := trit(t, "eval", "choices", "-", file); code != 1 || !strings.Contains(out, file+":3: ") {
		t.Errorf("exit %d: %s", code, out)
	}
}
