package train_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/train"
)

// TestTwins: a comparison that is stopped anywhere and resumed writes the bytes
// of one that is not; its figures are those of ordinary runs, and the difference
// of the runs is quantization and the stated rate alone.
func TestTwins(t *testing.T) {
	dev, data := fast(t, 2), texts(t)
	cfg := tiny(filepath.Join(t.TempDir(), "whole"), data, dev)
	cfg.Steps, cfg.ValidateEvery, cfg.SaveEvery = 6, 4, 3
	twin := train.Twin{Seeds: []uint64{5, 2}, Schedule: train.Cosine, Peak: 1e-3}
	tw, err := train.NewTwins(cfg, twin)
	if err != nil {
		t.Fatal(err)
	}
	scored := map[string]train.Validated{}
	gap, err := tw.Run(t.Context(), func(run string, e train.Event) {
		if e.Kind == train.Scored {
			scored[run] = e.Valid
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(dir string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "gap.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := read(cfg.Dir)
	var back train.Gap
	if err := json.Unmarshal([]byte(want), &back); err != nil {
		t.Fatal(err)
	}

	var diff []float64
	for i, name := range []string{"seed-5-ternary", "seed-5-plain", "seed-2-ternary", "seed-2-plain"} {
		r := back.Runs[i]
		if r.Name != name || r.Last != scored[name] || r.Last.Step != 6 {
			t.Errorf("run %d is %+v, validated %+v", i, r, scored[name])
		}
		got, err := train.SavedConfig(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		like := cfg
		like.Seed, like.Plain = r.Seed, i%2 == 1
		like.Data.Cache = filepath.Join(cfg.Dir, "data")
		if like.Plain {
			like.Quantization = train.Quantization{}
			like.Optimizer.Schedule.Kind, like.Optimizer.Schedule.Peak = twin.Schedule, twin.Peak
			diff = append(diff, back.Runs[i-1].Last.Loss-r.Last.Loss)
		}
		like.Dir, like.Device, like.Model = "", nil, checkpoint.Config{}
		if d := cmp.Diff(like, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	mean := (diff[0] + diff[1]) / 2
	if g := gap.Loss.Gap; math.Abs(g.Mean-mean) > 1e-12 || math.Abs(g.SD-math.Abs(diff[0]-diff[1])/math.Sqrt2) > 1e-12 || g.Min != min(diff[0], diff[1]) || g.Max != max(diff[0], diff[1]) {
		t.Errorf("gaps %v come to %+v", diff, g)
	}
	if gap.Tokens != 2*24*6 || gap.Parameters == 0 || !strings.Contains(gap.String(), "plain, cosine 0.001") {
		t.Errorf("%+v\n%s", gap, gap)
	}

	for _, stop := range []struct {
		run  string
		step int
	}{{"seed-5-ternary", 1}, {"seed-5-plain", 6}, {"seed-2-ternary", 2}} {
		cut := cfg
		cut.Dir = filepath.Join(t.TempDir(), "cut")
		tw, err := train.NewTwins(cut, twin)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = tw.Run(ctx, func(run string, e train.Event) {
			if e.Kind == train.Stepped && run == stop.run && e.Step == stop.step {
				cancel()
			}
		})
		cancel()
		// A stop after the last step is noticed only if there is more to do.
		if !errors.Is(err, context.Canceled) && stop.step < cfg.Steps {
			t.Fatalf("%+v: %v", stop, err)
		}
		if _, err := train.NewTwins(cut, twin); err == nil || !strings.Contains(err.Error(), "resume") {
			t.Errorf("begun twice: %v", err)
		}
		if tw, err = train.ResumeTwins(cut.Dir, func(c *train.Config) { c.Device = dev }); err != nil {
			t.Fatal(err)
		}
		trained := map[string]bool{}
		if _, err := tw.Run(t.Context(), func(run string, e train.Event) { trained[run] = true }); err != nil {
			t.Fatal(err)
		}
		if got := read(cut.Dir); got != want {
			t.Errorf("stopped at %+v: %s", stop, cmp.Diff(want, got))
		}
		if stop.run == "seed-2-ternary" && (trained["seed-5-plain"] || !trained["seed-2-plain"]) {
			t.Errorf("resumed, it trained %v", trained)
		}
	}
}

// TestTwinsOnRanks: a comparison on two ranks, stopped and resumed there, writes
// what one process writes that accumulates as many micro-batches.
func TestTwinsOnRanks(t *testing.T) {
	data := texts(t)
	twin := train.Twin{Seeds: []uint64{3}}
	config := func(dir string) train.Config {
		cfg := tiny(filepath.Join(t.TempDir(), dir), data, portable(t, 1))
		cfg.Steps, cfg.ValidateEvery, cfg.SaveEvery, cfg.Optimizer.Clip = 4, 2, 2, 0
		return cfg
	}
	alone := config("alone")
	alone.Scale.Accumulate = 2
	tw, err := train.NewTwins(alone, twin)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tw.Run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config("ranks")
	var got *train.Gap
	for _, stop := range []int{3, 0} {
		gaps, errs := make([]*train.Gap, 2), make([]error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i, comm := range inprocess.Group(2) {
			wg.Go(func() {
				own := cfg
				own.Device, own.Scale.Ranks = portable(t, 1), comm
				tw, err := train.NewTwins(own, twin)
				if stop == 0 {
					tw, err = train.ResumeTwins(own.Dir, func(c *train.Config) { c.Device, c.Scale.Ranks = own.Device, comm })
				}
				if err == nil {
					gaps[i], err = tw.Run(ctx, func(run string, e train.Event) {
						if run == "seed-3-plain" && e.Kind == train.Stepped && e.Step == stop {
							cancel()
						}
					})
				}
				if errs[i] = err; err != nil {
					comm.Leave()
				}
			})
		}
		wg.Wait()
		cancel()
		if err := errors.Join(errs...); err != nil && (stop == 0 || !errors.Is(err, context.Canceled)) {
			t.Fatal(err)
		}
		if gaps[1] != nil {
			t.Error("rank 1 returns a gap")
		}
		got = gaps[0]
	}
	if d := cmp.Diff(want.Loss, got.Loss); d != "" {
		t.Errorf("the gap differs: %s", d)
	}
}

func TestTwinsErrors(t *testing.T) {
	cfg := tiny(filepath.Join(t.TempDir(), "run"), texts(t), fast(t, 1))
	for want, change := range map[string]func(*train.Config, *train.Twin){
		"leave plain out": func(c *train.Config, _ *train.Twin) { c.Plain = true },
		"given twice":     func(_ *train.Config, w *train.Twin) { w.Seeds = []uint64{1, 2, 1} },
		"seed-1-plain":    func(_ *train.Config, w *train.Twin) { w.Peak = -1 },
		"no device":       func(c *train.Config, _ *train.Twin) { c.Device = nil },
	} {
		c, w := cfg, train.Twin{}
		change(&c, &w)
		if _, err := train.NewTwins(c, w); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := train.ResumeTwins(cfg.Dir, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resuming nothing: %v", err)
	}
}
