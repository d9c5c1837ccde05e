package main

import (
	"fmt"
	"math"
	"text/tabwriter"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/ops/ternary"
)

type inspectCmd struct {
	Model    string `arg:"" optional:"" help:"Checkpoint folder or file; the embedded model by default."`
	Tensors  bool   `help:"List every stored tensor."`
	Validate bool   `help:"Read every tensor; report values that are not finite and codes out of range."`
}

func (inspectCmd) Help() string {
	return "Examples:\n  trit inspect\n  trit inspect model.gguf --validate"
}

func (c *inspectCmd) Run(e *env) error {
	m, err := resolve(e, c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	k, cfg := m.Checkpoint, m.Config
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	row := func(name string, v any) { fmt.Fprintf(w, "%s\t%v\n", name, v) }
	row("model", m.Name)
	row("format", k.Format())
	row("type", cfg.ModelType)
	row("layers", cfg.Layers)
	row("hidden", cfg.Hidden)
	row("feed-forward", fmt.Sprintf("%d, %s", cfg.FFN, cfg.Act))
	row("heads", fmt.Sprintf("%d query, %d key/value, %d wide", cfg.Heads, cfg.KVHeads, cfg.HeadDim))
	row("vocabulary", fmt.Sprintf("%d, %s head", cfg.Vocab, map[bool]string{true: "tied", false: "separate"}[cfg.Tied]))
	row("context", cfg.Context)
	row("rope base, norm epsilon", fmt.Sprintf("%g, %g", cfg.Theta, cfg.NormEps))
	tern, float, bytes := 0, 0, int64(0)
	for _, s := range k.Specs() {
		n := 1
		for _, d := range s.Dims {
			n *= d
		}
		if s.Linear {
			tern += n
		} else {
			float += n
		}
	}
	for _, s := range k.Stored() {
		bytes += s.Bytes
	}
	row("parameters", fmt.Sprintf("%.2f M ternary (%s), %.2f M %s", float64(tern)/1e6, cfg.Form, float64(float)/1e6, cfg.Elem))
	row("stored", fmt.Sprintf("%.2f MB in %d tensors", float64(bytes)/1e6, len(k.Stored())))
	if t := m.Tokenizer; t != nil {
		row("tokenizer", fmt.Sprintf("%d tokens, stops %v", t.VocabSize(), m.Stops()))
	} else {
		row("tokenizer", "none")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range k.Warnings() {
		fmt.Fprintln(e.out, "note:", s)
	}
	if c.Tensors {
		w = tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		for _, s := range k.Stored() {
			fmt.Fprintf(w, "%s\t%s\t%v\t%d bytes\t%s\n", s.Name, s.Type, s.Dims, s.Bytes, s.File)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return c.statistics(e, m)
}

// statistics reads the projections (with Validate, everything) and prints the
// shares of the three values.
func (c *inspectCmd) statistics(e *env, m *engine.Model) error {
	var count [3]int
	var codes []int8
	bad := 0
	for _, s := range m.Checkpoint.Specs() {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		if !s.Linear || m.Config.Group != 0 {
			if c.Validate {
				bad += c.finite(e, m.Checkpoint, s)
			}
			if s.Linear {
				if err := countGroups(&count, m, s.Name); err != nil {
					return err
				}
			}
			continue
		}
		l, err := m.Checkpoint.Linear(s.Name)
		if err != nil {
			return err
		}
		n := s.Dims[0] * s.Dims[1]
		if cap(codes) < n {
			codes = make([]int8, n)
		}
		gamma, err := l.Unpack(codes[:n])
		if err != nil {
			if !c.Validate {
				return err
			}
			bad++
			fmt.Fprintln(e.out, "bad:", err)
			continue
		}
		if g := float64(gamma); !(g > 0) || math.IsInf(g, 0) {
			bad++
			fmt.Fprintf(e.out, "bad: %s: scale %v\n", s.Name, gamma)
		}
		for _, v := range codes[:n] {
			count[v+1]++
		}
		m.Checkpoint.Forget(s.Name)
	}
	total := float64(max(count[0]+count[1]+count[2], 1))
	h := 0.0
	for _, n := range count {
		if p := float64(n) / total; p > 0 {
			h -= p * math.Log2(p)
		}
	}
	fmt.Fprintf(e.out, "ternary values: %.1f %% -1, %.1f %% 0, %.1f %% +1; %.3f bits of entropy a weight\n",
		100*float64(count[0])/total, 100*float64(count[1])/total, 100*float64(count[2])/total, h)
	if bad > 0 {
		return fmt.Errorf("%s: %d problems", m.Name, bad)
	}
	if c.Validate {
		fmt.Fprintln(e.out, "valid: every tensor was read, every value is finite")
	}
	return nil
}

// countGroups counts the codes of masters that have a scale for each group.
func countGroups(count *[3]int, m *engine.Model, name string) error {
	t, err := m.Checkpoint.Tensor(name)
	if err == nil {
		t, err = t.ToF32()
	}
	if err != nil {
		return err
	}
	ternary.ScaleAttrs{Group: m.Config.Group}.Groups(t.F32(), func(_, _ int, w []float32) {
		s := ternary.InverseScale(w)
		for _, v := range w {
			count[ternary.Code(v, s)+1]++
		}
	})
	m.Checkpoint.Forget(name)
	return nil
}

func (c *inspectCmd) finite(e *env, k *checkpoint.Model, s checkpoint.Spec) int {
	t, err := k.Tensor(s.Name)
	if err != nil {
		fmt.Fprintln(e.out, "bad:", err)
		return 1
	}
	for i := range t.Len() {
		if v := t.FloatAt(i); math.IsNaN(v) || math.IsInf(v, 0) {
			fmt.Fprintf(e.out, "bad: %s: element %d is %v\n", s.Name, i, v)
			return 1
		}
	}
	return 0
}
