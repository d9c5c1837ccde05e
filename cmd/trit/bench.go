package main

import (
	"encoding/json"
	"fmt"
	"os"
	goruntime "runtime"
	"text/tabwriter"
	"time"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/models/bitnet158"
)

type benchCmd struct {
	subject
	deviceFlags
	Prefill []int  `help:"Prompt lengths." default:"128,512"`
	Decode  int    `help:"Tokens decoded in a test." default:"32"`
	Depth   []int  `help:"Tokens already in the cache when decoding." default:"0"`
	Batch   []int  `help:"Sequences decoded at once." default:"1"`
	Whole   bool   `help:"Multiply the whole output head instead of finding the likeliest token."`
	Runs    int    `help:"Runs of each test; the median counts." default:"3"`
	JSON    string `help:"Write the results to a file, - for standard output." placeholder:"FILE"`
}

func (benchCmd) Help() string {
	return `A preset is measured with random ternary weights of its real sizes.
Examples:
  trit bench
  trit bench --preset 2b4t --threads 2 --depth 0,1024 --json out.json`
}

// benchReport is what --json writes.
type benchReport struct {
	Model   string            `json:"model"`
	Device  string            `json:"device"`
	CPU     string            `json:"cpu"`
	Threads int               `json:"threads"`
	Go      string            `json:"go"`
	Time    time.Time         `json:"time"`
	Load    float64           `json:"load_seconds"`
	Weights int               `json:"weight_bytes"`
	Read    int               `json:"bytes_read_per_token"`
	Results []engine.Measured `json:"results"`
}

func (c *benchCmd) Run(e *env) error {
	m, err := c.model()
	if err != nil {
		return err
	}
	defer m.Close()
	dev, err := c.open(e)
	if err != nil {
		return err
	}
	defer dev.Close()
	tests, shape := c.tests()
	eng, err := m.Start(e.ctx, dev, shape)
	if err != nil {
		return err
	}
	defer eng.Close()
	// One step of one token shows what is read for it.
	if _, err := eng.Measure(e.ctx, engine.Decode(1, 0, 1), 1); err != nil {
		return err
	}
	mem, err := eng.Program.Memory(eng.Session.Run().Syms()...)
	if err != nil {
		return err
	}
	threads := c.Threads
	if threads < 1 {
		threads = goruntime.GOMAXPROCS(0)
	}
	r := benchReport{
		Model: m.Name, Device: dev.Name(), CPU: cpu.Host().Brand, Threads: threads, Go: goruntime.Version(),
		Time: time.Now().UTC().Truncate(time.Second), Load: eng.Load.Seconds(), Weights: mem.Weights, Read: mem.Read,
	}
	fmt.Fprintf(e.out, "%s on %s, %d threads, %s\nloaded in %.2f s, weights %.1f MB, read per token %.1f MB\n",
		r.Model, r.Device, r.Threads, r.CPU, r.Load, float64(r.Weights)/1e6, float64(r.Read)/1e6)
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "test\ttokens/s\tGB/s of weights\t")
	for _, t := range tests {
		res, err := eng.Measure(e.ctx, t, c.Runs)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, res)
		gbs := "-"
		if t.Decode && t.Batch == 1 {
			gbs = fmt.Sprintf("%.1f", res.Median*float64(r.Read)/1e9)
		}
		fmt.Fprintf(w, "%s\t%.2f\t%s\t\n", t.Name, res.Median, gbs)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return writeReport(e, c.JSON, r)
}

// model is what is measured: a checkpoint, or a preset's shape.
func (c *benchCmd) model() (*engine.Model, error) {
	if c.Preset == "" {
		return openModel(c.Model)
	}
	cfg, err := bitnet158.Preset(c.Preset)
	if err != nil {
		return nil, err
	}
	return engine.Synthetic(cfg, 1), nil
}

// tests are the measurements and the shape they need.
func (c *benchCmd) tests() (tests []engine.Test, shape engine.Shape) {
	for _, n := range c.Prefill {
		if n > 0 {
			tests = append(tests, engine.Prefill(n))
		}
	}
	for _, d := range c.Depth {
		for _, b := range c.Batch {
			if c.Decode > 0 {
				tests = append(tests, engine.Decode(c.Decode, d, b))
			}
		}
	}
	shape.Seqs, shape.Whole = 1, c.Whole
	for _, t := range tests {
		shape.Context = max(shape.Context, t.Positions())
		shape.Seqs = max(shape.Seqs, t.Batch)
	}
	return tests, shape
}

func writeReport(e *env, path string, r benchReport) error {
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
