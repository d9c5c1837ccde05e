package train

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/passes"
)

// LoRA configures low-rank adapters (Hu et al. 2022): with Rank above 0, From is
// a ternary checkpoint that stays as it is, and two small matrices beside each
// targeted projection are trained and saved. There is no dropout.
type LoRA struct {
	Rank    int      `json:"rank,omitempty" flag:"lora-rank" help:"Train adapters of this rank beside the frozen ternary projections of the checkpoint; 0: train the model."`
	Alpha   float64  `json:"alpha,omitempty" flag:"lora-alpha" help:"The adapters' product is multiplied by alpha/rank; 0: alpha is twice the rank."`
	Targets []string `json:"targets,omitempty" flag:"lora-targets" help:"Projections to adapt, such as q_proj,v_proj; all by default."`
}

func (l *LoRA) config(base string) adapter.Config {
	c := adapter.Config{Rank: l.Rank, Alpha: l.Alpha, Targets: l.Targets, Base: base}
	if c.Alpha == 0 {
		c.Alpha = 2 * float64(l.Rank)
	}
	return c
}

// adapterConfig describes the run's adapters as PEFT does, which wants targets to
// be named.
func (t *Trainer) adapterConfig() adapter.Config {
	c := t.cfg.LoRA.config(t.cfg.From)
	if len(c.Targets) == 0 {
		for _, name := range t.engine.Params() {
			if base, ok := strings.CutSuffix(name, passes.LoRAASuffix); ok {
				c.Targets = append(c.Targets, base[strings.LastIndexByte(base, '.')+1:])
			}
		}
		slices.Sort(c.Targets)
		c.Targets = slices.Compact(c.Targets)
	}
	return c
}

func (c *Config) validateLoRA(bad func(format string, args ...any)) {
	l := &c.LoRA
	if l.Rank < 0 || l.Rank > 1<<14 {
		bad("lora rank is %d, want 0 to %d", l.Rank, 1<<14)
	}
	if !(l.Alpha >= 0 && l.Alpha < 1e6) {
		bad("lora alpha is %v, want at least 0", l.Alpha)
	}
	if l.Rank == 0 {
		if l.Alpha != 0 || len(l.Targets) > 0 {
			bad("lora has alpha or targets, but no rank")
		}
		return
	}
	switch {
	case c.From == "":
		bad("lora adapts a checkpoint: set from (--init)")
	case c.Plain:
		bad("lora adapts ternary projections: plain cannot be set with it")
	case c.Quantization.model() != (Quantization{}):
		bad("lora leaves the projections as they are: act_bits, group and norm cannot be set with it")
	case c.Quantization.warms():
		bad("lora leaves the projections as they are: there is no quantization to warm up")
	}
}

// targeted reports whether a projection's param is to be adapted: a target is
// the name of a projection, or the end of its path.
func (l *LoRA) targeted(param string) bool {
	module := strings.TrimSuffix(param, ".weight")
	return len(l.Targets) == 0 || slices.ContainsFunc(l.Targets, func(t string) bool {
		return module == t || strings.HasSuffix(module, "."+t)
	})
}

// isAdapter reports whether a param is a matrix of an adapter.
func isAdapter(param string) bool {
	return strings.HasSuffix(param, passes.LoRAASuffix) || strings.HasSuffix(param, passes.LoRABSuffix)
}

// adapt puts adapters into a model's graph.
func (l *LoRA) adapt(g *graph.Graph) (*graph.Graph, error) {
	a := passes.Adapter{Rank: l.Rank, Scale: l.config("").Scale()}
	out, err := passes.Pipeline{passes.LoRA(func(param string) passes.Adapter {
		if l.targeted(param) {
			return a
		}
		return passes.Adapter{}
	})}.Run(g, nil)
	if err != nil {
		return nil, err
	}
	for _, t := range l.Targets {
		one := LoRA{Targets: []string{t}}
		if !slices.ContainsFunc(out.Params(), func(p *graph.Node) bool {
			base, ok := strings.CutSuffix(graph.SourceName(p), passes.LoRAASuffix)
			return ok && one.targeted(base)
		}) {
			return nil, fmt.Errorf("lora: the model has no projection %q", t)
		}
	}
	return out, nil
}

// start draws the matrices: A uniformly with the bound 1/√columns, as PEFT does
// (He's initialization with a = √5), B zero, so that training begins with what
// the checkpoint computes.
func (l *LoRA) start(params []*graph.Node, seed uint64) (map[string]graph.Tensor, error) {
	weights := map[string]graph.Tensor{}
	for _, p := range params {
		name := graph.SourceName(p)
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		t := graph.NewTensor(graph.F32, dims...)
		if strings.HasSuffix(name, passes.LoRAASuffix) {
			h := fnv.New64a()
			h.Write([]byte(name))
			rng := rand.New(rand.NewPCG(seed, h.Sum64()))
			bound := 1 / math.Sqrt(float64(dims[1]))
			for i := range t.F32() {
				t.F32()[i] = float32(bound * (2*rng.Float64() - 1))
			}
		}
		weights[name] = t
	}
	return weights, nil
}
