package train_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/train"
)

// Set in a process that TestKill starts: the run folder and the texts.
const killDir, killData = "TRIT_TRAIN_KILL_DIR", "TRIT_TRAIN_KILL_DATA"

// kills is how many processes TestKill kills. The figure in the documentation is
// that of -kills 200.
var kills = flag.Int("kills", 14, "processes that TestKill kills")

// killsPerRun is after how many kills a run may finish, so that it has time to.
const killsPerRun = 14

// killSteps is how many steps the killed run has, a checkpoint after each.
const killSteps = 60

// TestMain makes the test binary the trainer that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := victim(dir, os.Getenv(killData)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim trains or resumes and logs the bits of each loss.
func victim(dir, data string) error {
	log, err := os.OpenFile(dir+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	cfg := tiny(dir, data, ref.Device(ref.Options{Threads: 1}))
	cfg.Steps, cfg.SaveEvery, cfg.ValidateEvery, cfg.StatsEvery = killSteps, 1, 7, 3
	tr, err := train.Resume(dir, func(c *train.Config) { c.Device = cfg.Device })
	if err != nil {
		if _, statErr := os.Stat(filepath.Join(dir, "model.safetensors")); statErr == nil {
			return fmt.Errorf("a model but nothing to resume: %w", err)
		}
		if tr, err = train.New(cfg); err != nil {
			return err
		}
	}
	return tr.Run(context.Background(), func(e train.Event) {
		if e.Kind == train.Stepped {
			fmt.Fprintf(log, "%d %x\n", e.Step, math.Float64bits(e.Loss))
		}
	})
}

// TestKill kills a training process at random moments, many of them while it
// writes a checkpoint, and checks after each that the run folder opens and that
// all losses and curves are those of a run that nobody killed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a dozen processes: left out by -short")
	}
	data := texts(t)
	whole := filepath.Join(t.TempDir(), "whole")
	start := time.Now()
	if err := victim(whole, data); err != nil {
		t.Fatal(err)
	}
	life := time.Since(start)/8 + 20*time.Millisecond // at most, so that it takes many
	want := losses(t, whole+".log")
	if len(want) != killSteps {
		t.Fatalf("%d losses", len(want))
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	done, inside, runs := 0, 0, 0
	for ; done < *kills; runs++ {
		dir := filepath.Join(t.TempDir(), "run")
		n, in := killRun(t, dir, data, min(killsPerRun, *kills-done), life, rng)
		if n == 0 {
			t.Fatal("the run ended before it could be killed: it is too fast for this test")
		}
		done, inside = done+n, inside+in
		got := losses(t, dir+".log")
		for step, bits := range want {
			if got[step] != bits {
				t.Errorf("step %s: loss bits %s, want %s", step, got[step], bits)
			}
		}
		for _, name := range []string{"metrics.csv", "weights.csv"} {
			if d := cmp.Diff(columns(t, filepath.Join(whole, name)), columns(t, filepath.Join(dir, name))); d != "" {
				t.Errorf("%s differs: %.400s", name, d)
			}
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if strings.HasPrefix(d.Name(), ".") {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills in %d runs, %d of them inside the write of a checkpoint", done, runs, inside)
}

// killRun kills and resumes one run up to limit times, then lets it finish. It
// returns how many kills met it, and how many of them inside the write of a
// checkpoint.
func killRun(t *testing.T, dir, data string, limit int, life time.Duration, rng *rand.Rand) (kills, inside int) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for finished := false; !finished; {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), killDir+"="+dir, killData+"="+data)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Hour, func() {})
		if kills < limit {
			timer = time.AfterFunc(time.Duration(rng.Int64N(int64(life))), func() { cmd.Process.Kill() })
		}
		err := cmd.Wait()
		timer.Stop()
		if finished = err == nil; !finished {
			kills++
			if out.Len() > 0 {
				t.Fatalf("after %d kills: %s", kills-1, out.String())
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "checkpoints", ".step-*")); len(left) > 0 {
			inside++
		}
		if steps, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*")); len(steps) == 0 {
			continue // killed before the first checkpoint
		}
		latest, err := train.Weights(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{latest, dir} {
			if _, err := os.Stat(filepath.Join(folder, "config.json")); folder == dir && os.IsNotExist(err) {
				continue // between the first checkpoint and its publication
			}
			m, err := checkpoint.Open(folder)
			if err != nil {
				t.Fatalf("after %d kills: %v", kills, err)
			}
			m.Close()
			if _, err := tokenizer.Load(folder); err != nil {
				t.Fatalf("after %d kills: %v", kills, err)
			}
		}
	}
	return kills, inside
}

// losses reads a log. A step that was done twice must have the same bits twice.
func losses(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		step, bits, _ := strings.Cut(s.Text(), " ")
		if old, ok := m[step]; ok && old != bits {
			t.Errorf("step %s was done twice with losses %s and %s", step, old, bits)
		}
		m[step] = bits
	}
	return m
}
