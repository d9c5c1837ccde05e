package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/runtime"
)

type benchCmd struct {
	subject
	Device  string   `help:"Where to run: ${devices}." default:"auto"`
	Threads []int    `help:"CPU threads, one or more numbers; 0 means all processors." short:"t" default:"0"`
	Prefill []int    `help:"Prompt lengths; 0: none." default:"128,512"`
	Decode  int      `help:"Tokens decoded in a test." default:"32"`
	Depth   []int    `help:"Tokens already in the cache when decoding." default:"0"`
	Batch   []int    `help:"Sequences decoded at once, at the first depth." default:"1"`
	Cache   string   `help:"Element type of the cache: f32, f16, bf16, i8." enum:"f32,f16,bf16,i8" default:"f16"`
	Kernels bool     `help:"Also measure a step of the last test (--train: of each shape) kernel by kernel; always on a GPU."`
	Whole   bool     `help:"Multiply the whole output head instead of finding the likeliest token."`
	Runs    int      `help:"Runs of each test; the median counts." default:"3"`
	Compare []string `help:"Run this command, which prints like llama-bench, after each round and show ratios; may be repeated." placeholder:"CMD" sep:"none"`
	Against string   `help:"Compare with a report of --json; fail where a test is slower than --slack allows." placeholder:"FILE"`
	Slack   float64  `help:"How much slower than the report a test may be." default:"0.15"`
	Train   bool     `help:"Measure training steps in place of inference."`
	Widths  []int    `help:"--train: widths of the model, at the first window." default:"256"`
	Windows []int    `help:"--train: tokens in a row, at the first width." default:"128"`
	Vocabs  []int    `help:"--train: vocabularies, at the first width and window." default:"512,8192"`
	Layers  int      `help:"--train: layers of the model." default:"4"`
	Shapes  []string `help:"--train: models for GPUs instead: 26m, 123m." enum:"26m,123m" placeholder:"NAME"`
	Precise string   `name:"precision" help:"--train: of activations and gradients, f32 or bf16." enum:"f32,bf16" default:"f32"`
	Plain   bool     `help:"--train: the unquantized twin."`
	Forward string   `help:"--train: how quantized layers are computed: auto, integer, float; see trit train." enum:"auto,integer,float" default:"auto"`
	Write   string   `help:"Write the model to a GGUF file (I2_S) in place of measuring it." placeholder:"FILE"`
	JSON    string   `help:"Write the results to a file, - for standard output." placeholder:"FILE"`
}

func (benchCmd) Help() string {
	return `A preset is measured with random ternary weights of its real sizes. Tests
take turns, so that a noisy machine treats them alike: compare ratios.
Examples:
  trit bench
  trit bench --preset 2b4t --threads 1,2 --depth 0,1024,3072 --batch 1,16 --json out.json
  trit bench --preset 2b4t --against out.json
  trit bench --synthetic 2b4t --write 2b4t.gguf
  trit bench --preset 2b4t --device cuda --depth 512
  trit bench --train --threads 2 --widths 256,512,1024 --windows 128,512,2048
  trit bench --train --device cuda --shapes 26m,123m --precision bf16
  trit bench --train --threads 2 --compare "python3 docs/bench/torch_train.py eager"
  trit bench --model m.gguf --compare "llama-bench -m m.gguf -t 2 -p 128 -n 32 -r 1"`
}

// benchReport is what --json writes and --against reads.
type benchReport struct {
	Model   string     `json:"model"`
	Device  string     `json:"device"`
	CPU     string     `json:"cpu"`
	Go      string     `json:"go"`
	Commit  string     `json:"commit"`
	Command string     `json:"command"`
	Time    time.Time  `json:"time"`
	Cache   string     `json:"cache"`
	Whole   bool       `json:"whole_head"`
	Runs    []benchRun `json:"runs"`
}

// benchRun is what one number of threads gives.
type benchRun struct {
	Threads int               `json:"threads"`
	Load    float64           `json:"load_seconds"`
	Weights int               `json:"weight_bytes"`
	PeakRSS int               `json:"peak_resident_bytes,omitempty"`
	Limits  devices.Limits    `json:"limits"`
	Results []engine.Measured `json:"results"`
	Others  []otherEngine     `json:"compared,omitempty"`

	where string
	step  string           // that was profiled
	calls []runtime.Timing // of it
}

func (c *benchCmd) Run(e *env) error {
	if c.Train {
		return c.runTrain(e)
	}
	var old *benchReport
	if c.Against != "" {
		var err error
		if old, err = readReport(c.Against); err != nil {
			return err
		}
	}
	m, err := c.model(e)
	if err != nil {
		return err
	}
	defer m.Close()
	if c.Write != "" {
		o := checkpoint.ConvertOptions{To: "i2_s"}
		if err := m.Translate(&o); err != nil {
			return err
		}
		return checkpoint.Convert(e.ctx, m.Checkpoint, c.Write, o)
	}
	r := benchReport{
		Model: m.Name, CPU: cpu.Host().Brand, Go: goruntime.Version(), Commit: commit(),
		Command: "trit " + strings.Join(os.Args[1:], " "), Time: time.Now().UTC().Truncate(time.Second), Cache: c.Cache, Whole: c.Whole,
	}
	for _, threads := range c.Threads {
		run, err := c.run(e, m, threads, &r)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, *run)
		if err := run.print(e, &r); err != nil {
			return err
		}
	}
	if err := writeReport(e, c.JSON, r); err != nil || old == nil {
		return err
	}
	return old.check(e, &r, c.Slack)
}

// run measures with one number of threads. Tests and other engines take turns.
func (c *benchCmd) run(e *env, m *engine.Model, threads int, r *benchReport) (*benchRun, error) {
	flags := deviceFlags{Device: c.Device, Threads: threads}
	dev, err := flags.openAll(e)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	r.Device = dev.Name()
	run := &benchRun{Threads: flags.threads()}
	run.where, run.Limits = where(dev, run.Threads, r.CPU), limits(e, dev, run.Threads)
	resetPeak() // measuring took memory too
	tests, shape := c.tests()
	eng, err := m.Start(e.ctx, dev, shape)
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	run.Load = eng.Load.Seconds()
	run.Others = make([]otherEngine, len(c.Compare))
	for i := range run.Others {
		run.Others[i].Command = c.Compare[i]
	}
	for _, t := range tests {
		res, err := eng.Measure(e.ctx, t, 0) // warms up
		if err != nil {
			return nil, err
		}
		run.Results = append(run.Results, res)
	}
	for range c.Runs {
		for i := range run.Results {
			if err := eng.Again(e.ctx, &run.Results[i]); err != nil {
				return nil, err
			}
		}
		for i := range run.Others {
			if err := run.Others[i].again(e); err != nil {
				return nil, err
			}
		}
	}
	if _, gpu := dev.(devices.Accelerator); (gpu || c.Kernels) && len(tests) > 0 {
		t := tests[len(tests)-1]
		run.step = t.Name
		if run.calls, err = eng.Profile(e.ctx, t, 3); err != nil {
			return nil, err
		}
	}
	mem, err := eng.Program.Memory(eng.Session.Run().Syms()...)
	if err != nil {
		return nil, err
	}
	run.Weights, run.PeakRSS = mem.Weights, peakResident()
	return run, nil
}

// model is what is measured: a checkpoint, or a preset's shape.
func (c *benchCmd) model(e *env) (*engine.Model, error) {
	if c.Preset == "" {
		return resolve(e, c.Model)
	}
	cfg, err := bitnet158.Preset(c.Preset)
	if err != nil {
		return nil, err
	}
	return engine.Synthetic(cfg, 1)
}

// tests are the measurements and the shape they need.
func (c *benchCmd) tests() (tests []engine.Test, shape engine.Shape) {
	for _, n := range c.Prefill {
		if n > 0 {
			tests = append(tests, engine.Prefill(n))
		}
	}
	for i, d := range c.Depth {
		for j, b := range c.Batch {
			if c.Decode > 0 && (i == 0 || j == 0) {
				tests = append(tests, engine.Decode(c.Decode, d, b))
			}
		}
	}
	shape = engine.BenchShape(tests)
	shape.Whole, shape.Cache = c.Whole, cacheElems[c.Cache]
	return tests, shape
}

func (run *benchRun) print(e *env, r *benchReport) error {
	fmt.Fprintf(e.out, "%s on %s: loaded in %.2f s, weights %.1f MB, peak resident %.0f MB, this machine reads %.1f GB/s and multiplies %.0f G int8/s\n",
		r.Model, run.where, run.Load, float64(run.Weights)/1e6, float64(run.PeakRSS)/1e6, run.Limits.ReadGBs, run.Limits.MACGs)
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "test\ttokens/s\tMB/token\tGB/s\tof reading\tof multiplying\t")
	for _, o := range run.Others {
		fmt.Fprintf(w, "%s\tratio\t", o.name())
	}
	fmt.Fprintln(w)
	for _, res := range run.Results {
		fmt.Fprintf(w, "%s\t%.2f\t", res.Name, res.Median)
		read, macs := res.Median*float64(res.Read)/1e9, res.Median*float64(res.MACs)/1e9
		if read > 0 {
			fmt.Fprintf(w, "%.1f\t%.1f\t%s\t", float64(res.Read)/1e6, read, percent(read, run.Limits.ReadGBs))
		} else {
			fmt.Fprint(w, "\t\t\t")
		}
		fmt.Fprintf(w, "%s\t", percent(macs, run.Limits.MACGs))
		for _, o := range run.Others {
			if theirs := o.median(res.Name); theirs > 0 {
				fmt.Fprintf(w, "%.2f\t%.2f\t", theirs, res.Median/theirs)
			} else {
				fmt.Fprint(w, "\t\t")
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil || run.calls == nil {
		return err
	}
	return printKernels(e.out, run.step, run.calls, run.Limits)
}

// percent is a as a share of a limit, empty if that is not known.
func percent(a, limit float64) string {
	if limit <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*a/limit)
}

// check compares a new report with an old one, test by test.
func (old *benchReport) check(e *env, r *benchReport, slack float64) error {
	var slower []error
	for _, run := range r.Runs {
		for _, was := range old.Runs {
			if was.Threads != run.Threads {
				continue
			}
			if was.Limits.ReadGBs > 0 {
				fmt.Fprintf(e.out, "%d threads: this machine reads %.2f times as fast as in the report\n", run.Threads, run.Limits.ReadGBs/was.Limits.ReadGBs)
			}
			for _, a := range was.Results {
				for _, b := range run.Results {
					if a.Test != b.Test || a.Median <= 0 {
						continue
					}
					ratio := b.Median / a.Median
					fmt.Fprintf(e.out, "%d threads, %s: %.2f times the report's %.2f tokens/s\n", run.Threads, b.Name, ratio, a.Median)
					if ratio < 1-slack {
						slower = append(slower, fmt.Errorf("%s with %d threads: %.2f tokens/s, the report has %.2f", b.Name, run.Threads, b.Median, a.Median))
					}
				}
			}
		}
	}
	return errors.Join(slower...)
}

// commit is the source's revision, as the build recorded it.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	return rev + dirty
}

func readReport(path string) (*benchReport, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &benchReport{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s is no report of trit bench --json: %w", path, err)
	}
	return r, nil
}

func writeReport(e *env, path string, r any) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if path == "-" {
		_, err = e.out.Write(data)
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
