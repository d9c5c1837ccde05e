//go:build cuda

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// argsEnv makes this test binary the command.
const argsEnv = "TRIT_TEST_ARGS"

// TestProcess is the command in a process of its own, for faults that last as
// long as a process.
func TestProcess(t *testing.T) {
	args, ok := os.LookupEnv(argsEnv)
	if !ok {
		t.Skip("only a child of other tests runs this")
	}
	os.Exit(run(t.Context(), strings.Split(args, "\n"), os.Stdout, os.Stderr))
}

// process runs the command with more environment; one that hangs fails.
func process(t *testing.T, env []string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), append(env, argsEnv+"="+strings.Join(args, "\n"))...)
	b, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("trit %s hangs: %s", strings.Join(args, " "), b)
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// needEmulator skips where no emulated driver is named.
func needEmulator(t *testing.T) {
	t.Helper()
	if os.Getenv("TRIT_CUDA_DRIVER") == "" {
		t.Skip("TRIT_CUDA_DRIVER names no emulated driver")
	}
	if out, _ := process(t, nil, "doctor", "--quick"); !strings.Contains(out, "Emulated GPU") {
		t.Skipf("the driver is not the emulator:\n%s", out)
	}
}

// TestGPUVerbsWithoutGPU asks every verb for a GPU that cannot be had: each says
// in one line why, and what to do.
func TestGPUVerbsWithoutGPU(t *testing.T) {
	needEmulator(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "t.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("one two three ", 200)), 0o644); err != nil {
		t.Fatal(err)
	}
	questions := filepath.Join(dir, "q.jsonl")
	if err := os.WriteFile(questions, []byte(`{"context": "a", "choices": ["b", "c"], "gold": 0, "prompt": "x"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	verbs := [][]string{
		{"run", "x"}, {"chat"}, {"batch", questions, filepath.Join(dir, "out.jsonl")},
		{"logits", "--tokens", "1,2", "--out", filepath.Join(dir, "l.safetensors")},
		{"eval", "ppl", "-", text}, {"eval", "choices", "-", questions},
		{"bench", "--preset", "nano"}, {"bench", "--train"}, {"explain", "--preset", "nano"},
		{"train", "--data", text, "--out", filepath.Join(dir, "run"), "--tokenizer", "bytes"},
	}
	faults := []struct {
		env  []string
		want []string
	}{
		{[]string{"TRIT_CUDA_DRIVER=/nowhere/libcuda.so.1"}, []string{"no NVIDIA driver", "install the driver, or choose another device"}},
		{[]string{"TRIT_EMU_DEVICES=0"}, []string{"CUDA_ERROR_NO_DEVICE", "choose another device"}},
		{[]string{"TRIT_EMU_SM=75"}, []string{"compute capability 7.5", "choose another device"}},
	}
	for i, verb := range verbs {
		f := faults[i%len(faults)]
		out, code := process(t, f.env, append(verb, "--device", "cuda")...)
		if code != 1 || strings.Count(out, "trit: cuda") != 1 {
			t.Errorf("%v: exit %d, want 1 and one error\n%s", verb, code, out)
		}
		for _, w := range f.want {
			if !strings.Contains(out, w) {
				t.Errorf("%v: no %q in\n%s", verb, w, out)
			}
		}
	}
	if out, code := process(t, nil, "run", "--device", "cuda:7", "x"); code != 1 || !strings.Contains(out, "cuda:7: there is no such GPU; the driver sees 2") {
		t.Errorf("cuda:7: exit %d\n%s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
		t.Error("train made its folder before it had a device")
	}
}

// TestDoctorListsGPUs shows every GPU, and why an old one is not used.
func TestDoctorListsGPUs(t *testing.T) {
	needEmulator(t)
	out, code := process(t, nil, "doctor", "--quick")
	for _, w := range []string{"device cuda:0", "device cuda:1", "sm_80", "driver for CUDA", "GiB"} {
		if code != 0 || !strings.Contains(out, w) {
			t.Errorf("exit %d, no %q in\n%s", code, w, out)
		}
	}
	out, code = process(t, []string{"TRIT_EMU_SM=75", "TRIT_EMU_DEVICES=1"}, "doctor")
	if code != 0 || !strings.Contains(out, "compute capability 7.5") {
		t.Errorf("exit %d, nothing about the old GPU in\n%s", code, out)
	}
}
