//go:build cuda

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// TestGPURunsOutOfMemory gives the GPU too little memory for the embedded model.
func TestGPURunsOutOfMemory(t *testing.T) {
	needEmulator(t)
	out, code := process(t, []string{"TRIT_EMU_MEMORY=3145728"}, "run", "--device", "cuda", "--tokens", "1", "x")
	for _, w := range []string{" asked, ", "of 3.0 MiB free", "CUDA_ERROR_OUT_OF_MEMORY", "free GPU memory or ask for less"} {
		if code != 1 || !strings.Contains(out, w) {
			t.Errorf("exit %d, no %q in\n%s", code, w, out)
		}
	}
}

// TestGPUAnswersLikeCPU also loses the GPU after the first of two answers: it is
// kept, and the CPU gives the other.
func TestGPUAnswersLikeCPU(t *testing.T) {
	needEmulator(t)
	dir := t.TempDir()
	prompts := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(prompts, []byte(`{"prompt":"func a("}`+"\n"+`{"prompt":"type T "}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	answers := func(file string) []string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	batch := func(env []string, device, out string) (string, int) {
		return process(t, env, "batch", prompts, out, "--greedy", "--parallel", "1", "--tokens", "3", "--device", device)
	}
	cpu, gpu, lost := filepath.Join(dir, "cpu"), filepath.Join(dir, "gpu"), filepath.Join(dir, "lost")
	for out, device := range map[string]string{cpu: "ref", gpu: "cuda"} {
		if said, code := batch(nil, device, out); code != 0 {
			t.Fatalf("%s: exit %d\n%s", device, code, said)
		}
	}
	want := answers(cpu)
	if got := answers(gpu); len(want) != 2 || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the GPU answers\n%s\nthe CPU\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// At which kernel the second answer is under way depends on the kernels.
	launch := 100
	for ; ; launch += 50 {
		if launch > 1000 {
			t.Fatal("the device is never lost after one answer")
		}
		if err := os.WriteFile(lost, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		said, code := batch([]string{"TRIT_EMU_FAIL_LAUNCH=" + strconv.Itoa(launch)}, "cuda", lost)
		if code != 1 || strings.Count(said, "state is lost") != 1 || !strings.Contains(said, "close the device and start again") {
			t.Fatalf("lost at kernel %d: exit %d\n%s", launch, code, said)
		}
		if b, err := os.ReadFile(lost); err != nil {
			t.Fatal(err)
		} else if len(b) > 0 {
			break
		}
	}
	if kept := answers(lost); len(kept) != 1 || kept[0] != want[0] {
		t.Errorf("kept %q, want the first of %q", kept, want)
	}
	if said, code := batch(nil, "ref", lost); code != 0 {
		t.Fatalf("going on: exit %d\n%s", code, said)
	}
	if got := answers(lost); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("after going on\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestGPUTrainingGoesOn loses the GPU between two checkpoints; the CPU goes on
// from the first.
func TestGPUTrainingGoesOn(t *testing.T) {
	needEmulator(t)
	text, dir := rankText(t), filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--data", text, "--out", dir, "--holdout", "0.1", "--tokenizer", "bytes", "--hidden", "64", "--ffn", "64", "--heads", "2",
		"--kv-heads", "1", "--layers", "1", "--window", "8", "--rows", "2", "--steps", "4", "--save-every", "2", "--save-inline", "--validate-every", "0", "--log-every", "1", "--device", "cuda"}
	for launch := 300; ; launch += 100 {
		if launch > 2000 {
			t.Fatal("the device is never lost between two checkpoints")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		said, code := process(t, []string{"TRIT_EMU_FAIL_LAUNCH=" + strconv.Itoa(launch), "TRIT_EMU_FAIL_CODE=214"}, args...)
		if code != 1 || strings.Count(said, "state is lost") != 1 || !strings.Contains(said, "needs service") {
			t.Fatalf("lost at kernel %d: exit %d\n%s", launch, code, said)
		}
		if !strings.Contains(said, "step-00000002") {
			continue // too early
		}
		if !strings.Contains(said, "step-00000002 is kept; it goes on with: trit train --resume --out "+dir) {
			t.Errorf("nothing about how to go on in\n%s", said)
		}
		break
	}
	if said, code := process(t, nil, "train", "--resume", "--out", dir, "--device", "ref", "--log-every", "1"); code != 0 || !strings.Contains(said, "step 4/4") || strings.Contains(said, "step 2/4") {
		t.Errorf("going on: exit %d\n%s", code, said)
	}
}
