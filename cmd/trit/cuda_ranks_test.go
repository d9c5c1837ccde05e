//go:build cuda

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ranked runs the command on emulated GPUs that can be joined.
func ranked(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	return process(t, append(env, "TRIT_NCCL_LIBRARY="+os.Getenv("TRIT_CUDA_DRIVER")), args...)
}

func gpuRankArgs(text, out string, more ...string) []string {
	return append([]string{"train", "--data", text, "--out", out, "--holdout", "0.1", "--tokenizer", "bytes", "--hidden", "32", "--ffn", "64",
		"--heads", "2", "--kv-heads", "1", "--layers", "1", "--window", "8", "--rows", "4", "--validate-windows", "2", "--warmup", "2", "--clip", "0"}, more...)
}

// TestTrainOnGPUs: two GPUs train the model that one does with two micro-batches,
// bit by bit, with moments in parts too.
func TestTrainOnGPUs(t *testing.T) {
	needEmulator(t)
	text, dir := rankText(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, more := range map[string][]string{
		"one":     {"--device", "cuda:0", "--accumulate", "2"},
		"two":     {"--device", "cuda:0,1"},
		"sharded": {"--device", "cuda:0,1", "--shard-optimizer"},
	} {
		if out, code := ranked(t, nil, gpuRankArgs(text, at(name), append(more, "--steps", "3")...)...); code != 0 {
			t.Fatalf("%s: exit %d\n%s", name, code, out)
		}
	}
	sameModel(t, at("one"), at("two"))
	sameModel(t, at("one"), at("sharded"))
}

// TestLostGPU: when the GPU of one rank is lost the other does not wait for it,
// the error is that of the one, and the run goes on.
func TestLostGPU(t *testing.T) {
	needEmulator(t)
	run := filepath.Join(t.TempDir(), "run")
	out, code := ranked(t, []string{"TRIT_EMU_FAIL_LAUNCH=1500"}, gpuRankArgs(rankText(t), run, "--device", "cuda:0,1", "--steps", "1000", "--save-every", "2")...)
	if code != 1 || strings.Count(out, "trit:") != 1 || !regexp.MustCompile(`trit: rank [01] of 2, on cuda:[01]: .*the GPU's state is lost`).MatchString(out) {
		t.Errorf("exit %d, want one error about a lost GPU:\n%s", code, out)
	}
	saved, err := filepath.Glob(filepath.Join(run, "checkpoints", "step-*"))
	if err != nil || len(saved) == 0 {
		t.Fatalf("no checkpoints: %v\n%s", err, out)
	}
	if out, code := ranked(t, nil, "train", "--resume", "--out", run, "--device", "cuda:0,1", "--steps", "12"); code != 0 {
		t.Errorf("resume: exit %d\n%s", code, out)
	}
}

// TestGPUsShareModel: two GPUs that share a model write what one does.
func TestGPUsShareModel(t *testing.T) {
	needEmulator(t)
	model := filepath.Join(t.TempDir(), "model")
	ok(t, nil, gpuRankArgs(rankText(t), model, "--device", "auto", "--steps", "2", "--kv-heads", "2")...)
	var texts [2]string
	for i, device := range []string{"cuda:0", "cuda:0,1"} {
		var code int
		if texts[i], code = ranked(t, nil, "run", "--quiet", "--greedy", "--tokens", "6", "--model", model, "--device", device, "the quick"); code != 0 {
			t.Fatalf("%s: exit %d\n%s", device, code, texts[i])
		}
	}
	if texts[0] != texts[1] || texts[0] == "" {
		t.Errorf("one GPU wrote %q, two %q", texts[0], texts[1])
	}
}
