package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// Scale spreads a training step over micro-batches, processes and memory. None
// of it changes what a step computes but for rounding: gradients are those of
// the mean over all tokens of Config.Rows windows. N ranks compute the same bits
// as one rank with N times as many micro-batches (with Shard, while the gradient
// norm is below Optimizer.Clip); recomputation changes no bit.
type Scale struct {
	// Accumulate is the number of micro-batches that each rank runs one after
	// another in a step, adding up their gradients; 0 and 1 are one.
	Accumulate int `json:"accumulate,omitempty" flag:"accumulate" help:"Micro-batches of a step on each rank, whose gradients are added up; less memory for activations. 0 and 1: one."`
	// Shard keeps on each rank only its own part of AdamW's moments.
	Shard bool `json:"shard_optimizer,omitempty" flag:"shard-optimizer" help:"Keep on each rank only its own part of AdamW's moments." source:"ZeRO stage 1, Rajbhandari et al. 2020"`
	// Memory is the most bytes that params, gradients, moments and activations
	// may take on each rank, such as 512MB or 2GiB. To meet it activations are
	// computed a second time in the backward pass. Empty: no limit.
	Memory string `json:"memory,omitempty" flag:"memory" help:"Most bytes for params, gradients, moments and activations on each rank, such as 512MB: activations are recomputed to fit." placeholder:"BYTES" source:"Chen et al. 2016"`

	// Ranks joins the processes of a run that are ranks of one; nil: this is the
	// only one. Every rank is given the same configuration.
	Ranks devices.Communicator `json:"-"`
}

func (s *Scale) accumulate() int { return max(1, s.Accumulate) }

// ranks returns the rank of this process and their number.
func (s *Scale) ranks() (rank, size int) {
	if s.Ranks == nil {
		return 0, 1
	}
	return s.Ranks.Rank(), s.Ranks.Size()
}

// parts is how many equal parts each batch is cut into, over all ranks.
func (s *Scale) parts() int {
	_, size := s.ranks()
	return size * s.accumulate()
}

func (s *Scale) validate(rows int, bad func(format string, args ...any)) {
	if s.Accumulate < 0 || s.Accumulate > 1<<20 {
		bad("accumulate is %d, want 0 to %d", s.Accumulate, 1<<20)
		return
	}
	if _, size := s.ranks(); rows > 0 && rows%s.parts() != 0 {
		bad("%d rows cannot be cut into %d micro-batches on each of %d ranks: make rows a multiple of %d", rows, s.accumulate(), size, s.parts())
	}
	if _, err := ParseBytes(s.Memory); s.Memory != "" && err != nil {
		bad("memory: %w", err)
	}
}

// spread is what the passes need to know.
func (s *Scale) spread() passes.Spread {
	p := passes.Spread{Accumulate: s.Accumulate > 1}
	if rank, size := s.ranks(); size > 1 {
		p.Ranks, p.Shard = collective.Attrs{Ranks: size, Rank: rank}, s.Shard
	}
	return p
}

// join returns the device with the ranks' communicator.
func (s *Scale) join(dev devices.Device) (devices.Device, error) {
	if _, size := s.ranks(); size == 1 {
		return dev, nil
	}
	j, ok := dev.(devices.Joiner)
	if !ok {
		return nil, fmt.Errorf("train: device %s has no kernels for collective ops: run on one rank", dev.Name())
	}
	return j.Join(s.Ranks), nil
}

// ParseBytes reads a number of bytes, such as 4096, 512MB or 2GiB.
func ParseBytes(s string) (int, error) {
	text := strings.TrimSpace(s)
	digits := strings.TrimRight(text, "kKMGTiB ")
	unit := strings.TrimSpace(text[len(digits):])
	factor, ok := map[string]float64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || !(n >= 0) || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is no number of bytes: write 4096, 512MB or 2GiB", s)
	}
	return int(n * factor), nil
}

// compiled is the programs of a step.
type compiled struct {
	step   *runtime.Program // forward and backward, and without accumulation the update
	update *runtime.Program // nil without accumulation
	Recomputation
}

// Recomputation is what a memory budget led to; see Scale.Memory.
type Recomputation = passes.Recomputation

// compile makes the programs for micro-batches of exactly tokens tokens.
func compile(o Objective, r Recipe, dev devices.Device, tokens int) (c compiled, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	g, err := stepGraph(o.Step, r, o.Trained, fusions(dev), nil)
	if err != nil {
		return c, err
	}
	if r.Scale.spread().Accumulate {
		u, err := updateGraph(o.Step, r, o.Trained, nil)
		if err != nil {
			return c, err
		}
		if c.update, err = runtime.Compile(u, dev); err != nil {
			return c, fmt.Errorf("train: %w", err)
		}
	}
	if g, err = c.fit(g, r, dev, tokens); err != nil {
		return c, fmt.Errorf("train: %w", err)
	}
	if c.step, err = runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens)); err != nil {
		return c, fmt.Errorf("train: %w", err)
	}
	return c, nil
}

// fit makes the step's graph fit the memory budget, if there is one.
func (c *compiled) fit(g *graph.Graph, r Recipe, dev devices.Device, tokens int) (*graph.Graph, error) {
	if r.Scale.Memory == "" {
		return g, nil
	}
	budget, err := ParseBytes(r.Scale.Memory)
	if err != nil {
		return nil, err
	}
	base, err := runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens))
	if err != nil {
		return nil, err
	}
	defer base.Close()
	cost, err := base.Costs()
	if err != nil {
		return nil, err
	}
	return passes.Pipeline{passes.Recompute(passes.RecomputeOptions{
		Budget: budget, Cost: cost, Syms: map[string]int{layer.TokensSym: tokens},
		Measure: func(g *graph.Graph) (int, error) {
			p, err := runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens))
			if err != nil {
				return 0, err
			}
			defer p.Close()
			m, err := (&compiled{step: p, update: c.update}).memory()
			return m.Total(), err
		},
		Report: func(r passes.Recomputation) { c.Recomputation = r },
	})}.Run(g, nil)
}

func (c *compiled) close() error {
	var errs []error
	for _, p := range []*runtime.Program{c.step, c.update} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// Memory is what the programs of a training step hold on one rank, in bytes.
type Memory struct {
	Params, Gradients, Moments, Averages int // Gradients: accumulated; others are activations
	Activations                          int // and inputs, scratch and gradients in passing, planned with reuse
}

// Total is the sum.
func (m Memory) Total() int {
	return m.Params + m.Gradients + m.Moments + m.Averages + m.Activations
}

// String is one line.
func (m Memory) String() string {
	mb := func(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
	s := fmt.Sprintf("%s MB: params %s, moments %s, activations %s", mb(m.Total()), mb(m.Params), mb(m.Moments), mb(m.Activations))
	if m.Gradients > 0 {
		s += ", gradients " + mb(m.Gradients)
	}
	if m.Averages > 0 {
		s += ", averages " + mb(m.Averages)
	}
	return s
}

func (c *compiled) memory() (m Memory, err error) {
	seen := map[string]bool{}
	for _, p := range []*runtime.Program{c.step, c.update} {
		if p == nil {
			continue
		}
		plan, err := p.Memory()
		if err != nil {
			return m, err
		}
		m.Activations += plan.Arena + plan.Weights
		for _, s := range p.States() {
			name := graph.SourceName(s)
			if seen[name] {
				continue
			}
			seen[name] = true
			dims, err := s.Out[0].Shape.Eval(nil)
			if err != nil {
				return m, err
			}
			n, err := graph.Count(dims)
			if err != nil {
				return m, err
			}
			to := &m.Params
			switch {
			case strings.HasPrefix(name, passes.Gradient):
				to = &m.Gradients
			case strings.HasPrefix(name, passes.Moment1), strings.HasPrefix(name, passes.Moment2):
				to = &m.Moments
			case strings.HasPrefix(name, passes.Average):
				to = &m.Averages
			}
			*to += n * s.Out[0].Elem.Size()
		}
	}
	return m, nil
}

// gather returns every rank's numbers, in the order of ranks. All ranks give as
// many.
func (s *Scale) gather(x []float64) ([][]float64, error) {
	rank, size := s.ranks()
	if size == 1 {
		return [][]float64{x}, nil
	}
	at, n := make([]int, size), make([]int, size)
	for r := range size {
		at[r], n[r] = 8*len(x)*r, 8*len(x)
	}
	buf := make([]byte, 8*len(x)*size)
	for i, v := range x {
		binary.NativeEndian.PutUint64(buf[at[rank]+8*i:], math.Float64bits(v))
	}
	if err := s.Ranks.AllGather(buf, at, n); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	all := make([][]float64, size)
	for r := range all {
		for i := range x {
			all[r] = append(all[r], math.Float64frombits(binary.NativeEndian.Uint64(buf[at[r]+8*i:])))
		}
	}
	return all, nil
}

// any reports whether yes is true on any rank.
func (s *Scale) any(yes bool) (bool, error) {
	x := 0.0
	if yes {
		x = 1
	}
	all, err := s.gather([]float64{x})
	for _, o := range all {
		yes = yes || o[0] != 0
	}
	return yes, err
}

// broadcast gives every rank the bytes of rank 0.
func (s *Scale) broadcast(text []byte) ([]byte, error) {
	rank, size := s.ranks()
	if size == 1 {
		return text, nil
	}
	lens, err := s.gather([]float64{float64(len(text))})
	if err != nil {
		return nil, err
	}
	at, n := make([]int, size), make([]int, size)
	n[0] = int(lens[0][0])
	if rank > 0 {
		text = make([]byte, n[0])
	}
	for r := 1; r < size; r++ {
		at[r] = n[0]
	}
	if err := s.Ranks.AllGather(text, at, n); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return text, nil
}
