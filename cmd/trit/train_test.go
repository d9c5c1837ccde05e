package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrainConfig writes a configuration, trains from it with one setting
// overridden by a flag, and finds both in the run.
func TestTrainConfig(t *testing.T) {
	dir := t.TempDir()
	texts, runDir, file := filepath.Join(dir, "t.txt"), filepath.Join(dir, "run"), filepath.Join(dir, "run.yaml")
	if err := os.WriteFile(texts, []byte(strings.Repeat("the quick brown fox. ", 60)), 0o644); err != nil {
		t.Fatal(err)
	}
	printed := ok(t, []string{"peak: 0.002", "# Peak learning rate.", "Ma et al. 2024"}, "train", "--print-config", "--data", texts, "--out", runDir, "--lr", "2e-3",
		"--hidden", "32", "--ffn", "64", "--heads", "2", "--kv-heads", "1", "--layers", "1", "--tokenizer", "bytes", "--window", "16", "--rows", "2", "--steps", "2", "--holdout", "0.3")
	if err := os.WriteFile(file, []byte(printed), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := ok(t, nil, "train", "--print-config", "--config", file); again != printed {
		t.Errorf("printed, read and printed:\n%s", again)
	}
	ok(t, []string{"step 3/3", "trit run --model " + runDir}, "train", "--config", file, "--steps", "3")
	ok(t, []string{"steps: 3", "peak: 0.002", "kind: bytes", "hidden: 32"}, "train", "--print-config", "--resume", "--out", runDir)
	ok(t, []string{"steps: 3", "keep: 5"}, "train", "--print-config", "--resume", "--out", runDir, "--keep", "5")
	ok(t, []string{"training form", "windows of 16"}, "eval", "heldout", runDir)
	ok(t, []string{"inference form, windows of 16"}, "eval", "heldout", runDir, "--model", runDir, "--windows")
	best := filepath.Join(dir, "best")
	ok(t, []string{best + ": offline"}, "convert", runDir, best, "--best")
	if out, code := trit(t, "convert", best, filepath.Join(dir, "again"), "--best"); code == 0 || !strings.Contains(out, "holds no checkpoint") {
		t.Errorf("the best checkpoint of a folder that is no run: exit %d, %s", code, out)
	}
	for args, want := range map[string]string{
		"--resume --out " + runDir + " --hidden 64":    "start a new run",
		"--config " + file + " --tokenizer nosuchfile": "nosuchfile",
		"--config " + file + " --rows x":               "--rows",
		"--data x":                                     "--out",
		"--data x --out " + dir + " --preset 2b4t":     "published model",
	} {
		if out, code := trit(t, append([]string{"train"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("train %s: exit %d, no %q in %s", args, code, want, out)
		}
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("steps: 1\nstps: 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := trit(t, "train", "--config", bad); code == 0 || !strings.Contains(out, "bad.yaml:2: unknown key stps") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// TestTrainTwin compares two models, and goes on where the comparison is.
func TestTrainTwin(t *testing.T) {
	dir := t.TempDir()
	texts, out := filepath.Join(dir, "t.txt"), filepath.Join(dir, "gap")
	if err := os.WriteFile(texts, []byte(strings.Repeat("the quick brown fox. ", 60)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"train", "--twin", "--seeds", "1,2", "--twin-lr", "1e-3", "--data", texts, "--out", out,
		"--hidden", "32", "--ffn", "64", "--heads", "2", "--kv-heads", "1", "--layers", "1", "--tokenizer", "bytes", "--window", "16", "--rows", "2", "--steps", "2", "--holdout", "0.3"}
	first := ok(t, []string{"seed-2-plain", "mean ± sd over seeds", "ternary, bitnet 0.004", "plain, bitnet 0.001", "gap.json", "17632 parameters"}, args...)
	table := first[:strings.Index(first, "gap.json")]
	for _, more := range [][]string{{"train", "--twin", "--resume", "--out", out}, append(args, "--resume")} {
		if again := ok(t, nil, more...); !strings.HasPrefix(again, table) || strings.Contains(again, "step 1") {
			t.Errorf("resumed at the end: %s", again)
		}
	}
	for want, more := range map[string][]string{"settings that it began with": {"--resume", "--lr", "1e-3"}, "resume it": nil} {
		if out, code := trit(t, append(args, more...)...); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%v: exit %d: %s", more, code, out)
		}
	}
}

// TestTrainDiverges: with --check-finite the error names the op, the layer and the
// line, and the run folder still opens.
func TestTrainDiverges(t *testing.T) {
	dir := t.TempDir()
	texts, runDir := filepath.Join(dir, "t.txt"), filepath.Join(dir, "run")
	if err := os.WriteFile(texts, []byte(strings.Repeat("the quick brown fox. ", 60)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := trit(t, "train", "--data", texts, "--out", runDir, "--check-finite", "--explode", "0", "--plain", "--schedule", "constant", "--lr", "9", "--decay", "9", "--warmup", "0",
		"--hidden", "32", "--ffn", "64", "--heads", "2", "--kv-heads", "1", "--layers", "2", "--tokenizer", "bytes", "--window", "16", "--rows", "2", "--holdout", "0.3")
	for _, want := range []string{"training diverged", ".go:", "first op", "last good checkpoint", "lower peak rate"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in %s", code, want, out)
		}
	}
	ok(t, []string{"masters"}, "inspect", runDir)
}
