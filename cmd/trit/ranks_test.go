package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/mpi"
)

// rankText writes a text that a small model learns in a few steps.
func rankText(t *testing.T) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"the quick brown fox ", "jumps over ", "a lazy dog. ", "and then, ", "ran away; "}
	var b strings.Builder
	for range 2000 {
		b.WriteString(words[r.IntN(len(words))])
	}
	path := filepath.Join(t.TempDir(), "t.txt")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func rankArgs(text, out string, more ...string) []string {
	return append([]string{"train", "--data", text, "--out", out, "--holdout", "0.1", "--tokenizer", "bytes", "--hidden", "64", "--ffn", "128",
		"--heads", "2", "--kv-heads", "1", "--layers", "2", "--window", "16", "--rows", "8", "--threads", "1", "--validate-every", "20", "--warmup", "2"}, more...)
}

// TestTrainExplain shows a step's memory with and without recomputation, on one
// rank and as one of several.
func TestTrainExplain(t *testing.T) {
	args := []string{"train", "--explain", "--data", "x", "--preset", "nano", "--rows", "8", "--window", "64"}
	ok(t, []string{"memory of a step:", "program loss", "arena"}, args...)
	ok(t, []string{"program update", "accumulate", "gradients"}, append(args, "--accumulate", "2")...)
	ok(t, []string{"reduce_scatter", "all_gather"}, append(args, "--explain-ranks", "2", "--shard-optimizer")...)
	out, code := trit(t, append(args, "--memory", "1kB")...)
	least := regexp.MustCompile(`at least (\d+) bytes`).FindStringSubmatch(out)
	if code == 0 || least == nil {
		t.Fatalf("exit %d, %s", code, out)
	}
	ok(t, []string{"recomputation: ", "ops run twice"}, append(args, "--memory", least[1])...)
}

// TestMPIRunWithoutMPI: the default program must not train N times over.
func TestMPIRunWithoutMPI(t *testing.T) {
	if mpi.Built {
		t.Skip("this build has MPI")
	}
	t.Setenv("OMPI_COMM_WORLD_SIZE", "2")
	t.Setenv("OMPI_COMM_WORLD_RANK", "1")
	if out, code := trit(t, rankArgs(rankText(t), t.TempDir())...); code == 0 || !strings.Contains(out, "-tags mpi") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// TestMPIRun trains on two and four ranks with mpirun, kills one of them, and
// resumes with another number.
func TestMPIRun(t *testing.T) {
	if !mpi.Built {
		t.Skip("built without MPI, so nothing is tested: go test -tags mpi")
	}
	if _, err := exec.LookPath("mpirun"); err != nil {
		t.Skip("no mpirun here, so nothing is tested: ", err)
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "trit")
	if out, err := exec.Command("go", "build", "-tags", "mpi", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := rankText(t)
	command := func(n int, args []string) *exec.Cmd {
		if n == 1 {
			return exec.CommandContext(t.Context(), exe, args...)
		}
		return exec.CommandContext(t.Context(), "mpirun", append([]string{"--oversubscribe", "--allow-run-as-root", "-n", strconv.Itoa(n), exe}, args...)...)
	}
	train := func(n int, out string, more ...string) string {
		t.Helper()
		text, err := command(n, rankArgs(text, filepath.Join(dir, out), more...)).CombinedOutput()
		if err != nil {
			t.Fatalf("%d ranks: %v\n%s", n, err, text)
		}
		return string(text)
	}
	weights := func(out string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := func(a, b string) {
		t.Helper()
		if !bytes.Equal(weights(a), weights(b)) {
			t.Errorf("%s and %s have other weights", a, b)
		}
	}
	steps := []string{"--steps", "40", "--save-every", "10"}
	train(1, "alone", append(steps, "--accumulate", "4", "--clip", "0")...)
	train(4, "four", append(steps, "--clip", "0")...)
	same("alone", "four")
	if said := train(4, "sharded", append(steps, "--clip", "0", "--shard-optimizer")...); !regexp.MustCompile(`rank 3 \d+\.\d MB`).MatchString(said) {
		t.Errorf("no memory for each rank in %s", said)
	}
	same("alone", "sharded")

	// A run of many steps is killed on rank 1 and goes on in other ways to the
	// same step as one that nobody killed.
	var said bytes.Buffer
	cmd := command(2, rankArgs(text, filepath.Join(dir, "killed"), "--schedule", "constant", "--clip", "0", "--steps", "1000000", "--save-every", "10"))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	victim := 0
	buf := make([]byte, 1<<16)
	for {
		n, err := reader.Read(buf)
		said.Write(buf[:n])
		if m := regexp.MustCompile(`rank 1 of 2 is process (\d+)`).FindStringSubmatch(said.String()); m != nil && victim == 0 && strings.Contains(said.String(), "step-00000020") {
			victim, _ = strconv.Atoi(m[1])
			p, err := os.FindProcess(victim)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("mpirun does not report the killed rank")
	}
	host, _ := os.Hostname()
	if want := fmt.Sprintf("rank 1 of 2 on %s, process %d, ended: signal: killed", host, victim); !strings.Contains(said.String(), want) {
		t.Fatalf("no %q in %s", want, said.String())
	}
	reached, _ := filepath.Glob(filepath.Join(dir, "killed", "checkpoints", "step-*"))
	last, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(reached[len(reached)-1]), "step-"))
	if err != nil {
		t.Fatal(err)
	}
	resume := func(n, steps int, out string, more ...string) {
		t.Helper()
		text, err := command(n, append([]string{"train", "--resume", "--threads", "1", "--out", filepath.Join(dir, out), "--steps", strconv.Itoa(steps)}, more...)).CombinedOutput()
		if err != nil {
			t.Fatalf("resume on %d ranks: %v\n%s", n, err, text)
		}
	}
	resume(1, last+10, "killed", "--accumulate", "2")
	resume(2, last+20, "killed", "--accumulate", "1", "--shard-optimizer")
	train(1, "whole", "--schedule", "constant", "--clip", "0", "--accumulate", "2", "--steps", strconv.Itoa(last+20), "--save-every", "10")
	same("whole", "killed")
	resume(4, last+30, "killed")
}
