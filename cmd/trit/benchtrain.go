package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// trainReport is what trit bench --train --json writes.
type trainReport struct {
	Device  string     `json:"device"`
	CPU     string     `json:"cpu"`
	Go      string     `json:"go"`
	Commit  string     `json:"commit"`
	Command string     `json:"command"`
	Time    time.Time  `json:"time"`
	Plain   bool       `json:"plain"`
	Forward string     `json:"forward"`
	Precise string     `json:"precision"`
	Runs    []trainRun `json:"runs"`
}

// trainRun is what one number of threads gives.
type trainRun struct {
	Threads int            `json:"threads"`
	Limits  devices.Limits `json:"limits"`
	Results []trainResult  `json:"results"`
	Others  []otherEngine  `json:"compared,omitempty"`

	where string
}

// trainResult is a shape with its measurements.
type trainResult struct {
	Name   string `json:"name"` // width/vocabulary/rows x window
	Width  int    `json:"width"`
	Layers int    `json:"layers"`
	Vocab  int    `json:"vocab"`
	Rows   int    `json:"rows"`
	Window int    `json:"window"`
	Params int    `json:"params"`

	shape *bitnet158.Config // nil: of the width
	calls []runtime.Timing  // of a step, kernel by kernel

	Rates   []float64 `json:"tokens_per_second"` // of each run
	Median  float64   `json:"median_tokens_per_second"`
	StepMS  float64   `json:"step_ms"`                       // at the median
	Peak    float64   `json:"of_fma_peak"`                   // 6 operations a param and token, against the limit
	Planned int       `json:"planned_bytes"`                 // arena and states
	Arena   int       `json:"arena_bytes"`                   // activations, gradients, scratch
	PeakRSS int       `json:"peak_resident_bytes,omitempty"` // while this shape ran; of the process where that cannot be told
	Foreign float64   `json:"foreign_cpus,omitempty"`        // processors that others kept busy meanwhile, in the worst run
}

func newTrainResult(width, layers, vocab, rows, window int) trainResult {
	return trainResult{
		Name:  fmt.Sprintf("d%d/v%d/%dx%d", width, vocab, rows, window),
		Width: width, Layers: layers, Vocab: vocab, Rows: rows, Window: window,
	}
}

// config is the shape that other trainers are compared at, scaled: heads of 64,
// two of them to a key head, a feed-forward layer of 43/16 the width.
func (t *trainResult) config() bitnet158.Config {
	if t.shape != nil {
		return *t.shape
	}
	return bitnet158.Config{
		ModelType: "bitnet", Vocab: t.Vocab, Hidden: t.Width, FFN: t.Width * 43 / 16, Layers: t.Layers,
		Heads: t.Width / 64, KVHeads: t.Width / 128, HeadDim: 64, Context: t.Window,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, Elem: graph.F32,
	}
}

// gpuShape is one of the models that trainers on GPUs are compared at, of 26.0 or
// 123.1 M params, in batches of windows of 512.
func gpuShape(name string) trainResult {
	cfg := bitnet158.Config{
		ModelType: "bitnet", Vocab: 8192, Hidden: 512, FFN: 1344, Layers: 8, Heads: 8, KVHeads: 2, HeadDim: 64, Context: 512,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, Elem: graph.F32,
	}
	rows := 64
	if name == "123m" {
		cfg.Hidden, cfg.FFN, cfg.Layers, cfg.Heads, cfg.KVHeads, rows = 768, 3584, 12, 12, 3, 32
	}
	t := newTrainResult(cfg.Hidden, cfg.Layers, cfg.Vocab, rows, cfg.Context)
	t.Name, t.shape = name+"/"+t.Name, &cfg
	return t
}

// trainTests are the widths at the first window, then the windows at the first
// width, each with about the tokens of 8 windows of 128.
func (c *benchCmd) trainTests() ([]trainResult, error) {
	var tests []trainResult
	for _, name := range c.Shapes {
		tests = append(tests, gpuShape(name))
	}
	if tests != nil {
		return tests, nil
	}
	add := func(width, vocab, window int) error {
		if width < 128 || width%128 != 0 {
			return fmt.Errorf("--widths: %d: want multiples of 128", width)
		}
		if window < 1 || vocab < 2 {
			return fmt.Errorf("--windows %d and --vocabs %d: want at least 1 and 2", window, vocab)
		}
		tests = append(tests, newTrainResult(width, c.Layers, vocab, max(1, 1024/window), window))
		return nil
	}
	for i, width := range c.Widths {
		for j, window := range c.Windows {
			for k, vocab := range c.Vocabs {
				if (i > 0 && j > 0) || (k > 0 && i+j > 0) {
					continue
				}
				if err := add(width, vocab, window); err != nil {
					return nil, err
				}
			}
		}
	}
	return tests, nil
}

func (c *benchCmd) runTrain(e *env) error {
	tests, err := c.trainTests()
	if err != nil {
		return err
	}
	r := trainReport{
		CPU: cpu.Host().Brand, Go: goruntime.Version(), Commit: commit(), Plain: c.Plain, Forward: c.Forward, Precise: c.Precise,
		Command: "trit " + strings.Join(os.Args[1:], " "), Time: time.Now().UTC().Truncate(time.Second),
	}
	for _, threads := range c.Threads {
		run, err := c.trainThreads(e, threads, tests, &r)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, *run)
		if err := run.print(e, &r); err != nil {
			return err
		}
	}
	return writeReport(e, c.JSON, r)
}

func (c *benchCmd) trainThreads(e *env, threads int, tests []trainResult, r *trainReport) (*trainRun, error) {
	flags := deviceFlags{Device: c.Device, Threads: threads}
	dev, err := flags.open(e)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	r.Device = dev.Name()
	run := &trainRun{Threads: flags.threads(), Results: append([]trainResult(nil), tests...), Others: make([]otherEngine, len(c.Compare))}
	run.where, run.Limits = where(dev, run.Threads, r.CPU), limits(e, dev, run.Threads)
	for i := range run.Others {
		run.Others[i].Command = c.Compare[i]
	}
	for range c.Runs {
		for i := range run.Results {
			if err := c.trainOnce(e, dev, &run.Results[i]); err != nil {
				return nil, err
			}
		}
		for i := range run.Others {
			if err := run.Others[i].again(e); err != nil {
				return nil, err
			}
		}
	}
	for i := range run.Results {
		t := &run.Results[i]
		t.Median = engine.Median(t.Rates)
		t.StepMS = 1000 * float64(t.Rows*t.Window) / t.Median
		if run.Limits.FMAGFLOPs > 0 {
			t.Peak = 6 * float64(t.Params) * t.Median / 1e9 / run.Limits.FMAGFLOPs
		}
	}
	return run, nil
}

// trainOnce compiles the shape's step, trains on random tokens for about a
// second, after two steps to warm up, and notes the median step's rate.
func (c *benchCmd) trainOnce(e *env, dev devices.Device, t *trainResult) error {
	debug.FreeOSMemory()
	resetPeak()
	tokens := t.Rows * t.Window
	loss, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, t.config(), tok) }, tokens)
	if err != nil {
		return err
	}
	cfg := train.Default()
	cfg.Recipe.Plain, cfg.Recipe.Quantization.Forward, cfg.Recipe.Precision = c.Plain, c.Forward, c.Precise
	eng, err := train.NewEngine(loss, cfg.Recipe, dev, tokens)
	if err != nil {
		return err
	}
	defer eng.Close()
	weights, err := cfg.Init.Weights(loss, 1)
	if err != nil {
		return err
	}
	t.Params = 0
	for _, w := range weights {
		t.Params += w.Len()
	}
	if err := eng.SetState(e.ctx, train.State{Weights: weights}); err != nil {
		return err
	}
	weights = nil
	batch := data.NewBatch(t.Rows, t.Window)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range batch.Tokens {
		batch.Tokens[i], batch.Targets[i] = int32(rng.IntN(t.Vocab)), int32(rng.IntN(t.Vocab))
		batch.Seq[i], batch.Pos[i] = int32(i/t.Window), int32(i%t.Window)
	}
	var rates []float64
	others, known := foreignTime()
	all := time.Now()
	for i, began := 0, all; i < 5 || time.Since(began) < time.Second; i++ {
		start := time.Now()
		if _, err := eng.Step(e.ctx, batch, 1e-3, 0.1); err != nil {
			return err
		}
		if i >= 2 {
			rates = append(rates, float64(tokens)/time.Since(start).Seconds())
		}
	}
	if now, _ := foreignTime(); known {
		t.Foreign = max(t.Foreign, (now-others)/time.Since(all).Seconds())
	}
	t.Rates = append(t.Rates, engine.Median(rates))
	if _, gpu := dev.(devices.Accelerator); gpu || c.Kernels {
		if t.calls, err = eng.Profile(e.ctx, batch, 1e-3, 0.1); err != nil {
			return err
		}
	}
	mem, err := eng.Program().Memory()
	if err != nil {
		return err
	}
	t.Arena, t.Planned = mem.Arena, mem.Arena+mem.States+mem.Weights
	t.PeakRSS = max(t.PeakRSS, peakResident())
	return nil
}

func (run *trainRun) print(e *env, r *trainReport) error {
	kind := "ternary"
	if r.Plain {
		kind = "unquantized"
	}
	fmt.Fprintf(e.out, "training, %s, forward %s, %s, on %s: this machine does %.0f GFLOP/s and %.0f G int8 multiply-adds/s\n",
		kind, r.Forward, r.Precise, run.where, run.Limits.FMAGFLOPs, run.Limits.MACGs)
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "shape\tM params\tms/step\ttokens/s\t6N of peak\tplanned MB\tpeak resident MB\t")
	for _, o := range run.Others {
		fmt.Fprintf(w, "%s\tratio\t", o.name())
	}
	fmt.Fprintln(w)
	for _, t := range run.Results {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.0f\t%.0f%%\t%.0f\t%.0f\t", t.Name, float64(t.Params)/1e6, t.StepMS, t.Median, 100*t.Peak, float64(t.Planned)/1e6, float64(t.PeakRSS)/1e6)
		for _, o := range run.Others {
			if theirs := o.median(t.Name); theirs > 0 {
				fmt.Fprintf(w, "%.0f\t%.2f\t", theirs, t.Median/theirs)
			} else {
				fmt.Fprint(w, "\t\t")
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range run.Results {
		if t.Foreign > 0.1 {
			fmt.Fprintf(e.out, "note: %s: other processes kept %.1f processors busy meanwhile; measure again\n", t.Name, t.Foreign)
		}
	}
	for _, t := range run.Results {
		if t.calls == nil {
			continue
		}
		if err := printTraining(e.out, t.Name, t.calls, run.Limits); err != nil {
			return err
		}
	}
	return nil
}
