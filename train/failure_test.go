package train_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/train"
)

// opens checks that the newest checkpoint and the run folder open, the tensors
// with all their bytes, and returns the newest step's name.
func opens(t *testing.T, dir string) string {
	t.Helper()
	latest, err := train.Weights(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{latest, dir} {
		m, err := checkpoint.Open(folder)
		if err != nil {
			t.Fatalf("%s does not open: %v", folder, err)
		}
		m.Close()
	}
	if _, err := train.Resume(dir, func(c *train.Config) { c.Device = fast(t, 1) }); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(filepath.Dir(latest))
}

// inMemory is a folder in memory where there is one: thousands of flushes to a
// disk take minutes.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "trit-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestEveryWriteFails makes the n-th disk operation of the n-th checkpoint fail,
// or all from there on, for every operation there is, with and without shards.
// Training goes on, the checkpoint before stays, and the next one is written.
func TestEveryWriteFails(t *testing.T) {
	boom := errors.New("no space left")
	for _, v := range []struct {
		name  string
		dead  bool
		shard int64
	}{{"one", false, 0}, {"all, sharded", true, 60 << 10}} {
		t.Run(v.name, func(t *testing.T) {
			c := tiny(filepath.Join(inMemory(t), "run"), texts(t), fast(t, 1))
			c.Steps, c.SaveEvery, c.ValidateEvery, c.Keep, c.SaveInline, c.ShardBytes = 400, 1, 0, 1, true, v.shard
			tr, err := train.New(c)
			if err != nil {
				t.Fatal(err)
			}
			// Steps and checkpoints take turns here, so plain variables do.
			op, failAt, hits, n, before := 0, -1, 0, 0, ""
			defer atomicfile.Intercept(func(string, string) error {
				op++
				if failAt >= 0 && (op-1 == failAt || v.dead && op > failAt) {
					hits++
					return boom
				}
				return nil
			})()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err = tr.Run(ctx, func(e train.Event) {
				switch {
				case e.Kind == train.Stepped && e.Step%2 == 0: // the others' checkpoints succeed
					before = opens(t, c.Dir)
					op, failAt, hits = 0, n, 0
					n++
				case (e.Kind == train.Saved || e.Kind == train.Warned) && failAt >= 0:
					failAt = -1
					if now := opens(t, c.Dir); now < before {
						t.Errorf("operation %d: back from %s to %s", n-1, before, now)
					}
					if hits == 0 {
						cancel() // there are no more
					}
				}
				if e.Kind == train.Warned && !strings.Contains(e.Message, boom.Error()) {
					t.Errorf("operation %d: %s", n-1, e.Message)
				}
			})
			if !errors.Is(err, context.Canceled) || n < 30 {
				t.Errorf("%d operations failed: %v", n, err)
			}
			for _, name := range checkpoints(t, c.Dir) {
				if strings.HasPrefix(name, ".") {
					t.Errorf("left behind: %s", name)
				}
			}
		})
	}
}

// TestNobodyWaits: steps go on while a checkpoint is being written; one that
// falls due meanwhile is made of the first step after.
func TestNobodyWaits(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	c.Steps, c.SaveEvery, c.ValidateEvery, c.Keep = 5000, 4, 0, 9
	hold := make(chan struct{})
	var once sync.Once
	defer atomicfile.Intercept(func(_, path string) error {
		if strings.Contains(path, "step-00000004") {
			once.Do(func() { <-hold })
		}
		return nil
	})()
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = tr.Run(ctx, func(e train.Event) {
		switch {
		case e.Kind == train.Warned:
			t.Error(e)
		case e.Kind == train.Saved:
			if got = append(got, e.Step); len(got) == 3 {
				cancel()
			}
		case e.Kind == train.Stepped && e.Step == 10:
			if d := cmp.Diff([]string{"step-00000000"}, checkpoints(t, c.Dir)); d != "" {
				t.Errorf("while a checkpoint is being written: %s", d)
			}
			close(hold)
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(got) < 3 || got[0] != 0 || got[1] != 4 || got[2] < 10 {
		t.Errorf("saved after steps %v", got)
	}
}

// TestLocked: a second trainer in a folder gets an error that names the first,
// also one that was made before the first began.
func TestLocked(t *testing.T) {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	early, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(t.Context(), func(e train.Event) {
		if e.Kind != train.Stepped || e.Step != 6 {
			return
		}
		other, err := train.Resume(c.Dir, func(r *train.Config) { r.Device = c.Device })
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "being trained by process ") {
			t.Errorf("a second trainer: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := early.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "resume it") {
		t.Errorf("a trainer that was made before the other ran: %v", err)
	}
	stale, err := train.Resume(c.Dir, func(r *train.Config) { r.Device, r.Steps = c.Device, 20 })
	if err != nil {
		t.Fatal(err)
	}
	next, err := train.Resume(c.Dir, func(r *train.Config) { r.Device, r.Steps = c.Device, 14 })
	follow(t, next, err, newCurve(), 0)
	if err := stale.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "another process has trained") {
		t.Errorf("resumed from what is old by now: %v", err)
	}
}

// TestShards: a sharded run opens at any time, resumes with the same bits, and
// may change between shards and single files.
func TestShards(t *testing.T) {
	data, dev := texts(t), fast(t, 1)
	whole, parts := newCurve(), newCurve()
	one := tiny(filepath.Join(t.TempDir(), "a"), data, dev)
	tr, err := train.New(one)
	follow(t, tr, err, whole, 0)
	c := tiny(filepath.Join(t.TempDir(), "b"), data, dev)
	c.ShardBytes = 20 << 10
	tr, err = train.New(c)
	follow(t, tr, err, parts, 4)
	for i, limit := range []int64{30 << 10, 0, 40 << 10} {
		opens(t, c.Dir)
		shards, err := filepath.Glob(filepath.Join(c.Dir, "model-step-*.safetensors"))
		_, single := os.Stat(filepath.Join(c.Dir, "model.safetensors"))
		if err != nil || (len(shards) > 1) == (single == nil) {
			t.Errorf("the run folder holds shards %v and a single file: %v", shards, single == nil)
		}
		until := []int{6, 9, 0}[i]
		tr, err := train.Resume(c.Dir, func(r *train.Config) { r.Device, r.ShardBytes = dev, limit })
		follow(t, tr, err, parts, until)
	}
	if d := cmp.Diff(whole.Loss, parts.Loss); d != "" {
		t.Errorf("losses differ: %s", d)
	}
	opens(t, c.Dir)
	index, err := os.ReadFile(filepath.Join(c.Dir, "checkpoints", "step-00000012", "optimizer.safetensors.index.json"))
	if err != nil || !strings.Contains(string(index), "optimizer-00002-of-") {
		t.Errorf("index %s, %v", index, err)
	}
	score, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Windows: c.ValidateWindows})
	if err != nil || score.Loss() != whole.Valid[12].Loss {
		t.Errorf("evaluated %v, want %v: %v", score.Loss(), whole.Valid[12].Loss, err)
	}
}
