// Package adapter reads and writes low-rank adapters (LoRA, Hu et al. 2022) in
// the form of Hugging Face's PEFT: a folder with adapter_config.json and
// adapter_model.safetensors.
//
// An adapter of a projection with weight W is two matrices A [rank,in] and B
// [out,rank]; the projection becomes W·x + scale·B·(A·x), where scale is
// alpha/rank. The projection itself stays as it is, ternary. [Adapter.Pass] adds
// the adapter to a declared model, [Adapter.Source] its matrices to the model's
// weights.
package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/passes"
)

// Names of an adapter's files.
const (
	ConfigFile = "adapter_config.json"
	Stem       = "adapter_model" // .safetensors
	weights    = Stem + ".safetensors"
)

// prefix stands before the names of tensors in PEFT's files.
const prefix = "base_model.model."

// Config describes an adapter.
type Config struct {
	Rank    int
	Alpha   float64
	RSLoRA  bool     // the scale is alpha/√rank (Kalajdzievski 2023)
	Targets []string // names of the adapted projections, such as q_proj
	Base    string   // what it adapts: a path or a name on the hub
}

// Scale is the factor of the low-rank product.
func (c Config) Scale() float64 {
	if c.RSLoRA {
		return c.Alpha / math.Sqrt(float64(c.Rank))
	}
	return c.Alpha / float64(c.Rank)
}

// maxRank bounds what a file may claim.
const maxRank = 1 << 14

func (c Config) check() error {
	if c.Rank < 1 || c.Rank > maxRank {
		return fmt.Errorf("rank r is %d, want 1 to %d", c.Rank, maxRank)
	}
	if !(c.Alpha > 0 && c.Alpha < 1e6) {
		return fmt.Errorf("lora_alpha is %v, want above 0", c.Alpha)
	}
	return nil
}

// Encode returns adapter_config.json.
func (c Config) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": c.Base,
		"r": c.Rank, "lora_alpha": c.Alpha, "use_rslora": c.RSLoRA, "target_modules": c.Targets,
		"lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false, "init_lora_weights": true,
		"inference_mode": true, "modules_to_save": nil,
	}, "", "  ")
	return append(text, '\n'), err
}

// FileName is the name that PEFT gives a matrix in its file.
func FileName(param string) string { return prefix + param }

// Adapter is an adapter in memory.
type Adapter struct {
	Config
	// Tensors are the matrices by the param's name, such as
	// model.layers.0.self_attn.q_proj.lora_A.weight; f32.
	Tensors map[string]graph.Tensor

	dir string
}

// Open reads an adapter's folder. What would change the result and is not
// supported, such as DoRA, is refused.
func Open(dir string) (*Adapter, error) {
	fail := func(name string, err error) (*Adapter, error) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, err
	}
	a := &Adapter{Tensors: map[string]graph.Tensor{}, dir: dir}
	if a.Config, err = parse(text); err != nil {
		return fail(ConfigFile, err)
	}
	f, err := safetensors.Open(filepath.Join(dir, weights))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, info := range f.Tensors {
		name, ok := strings.CutPrefix(info.Name, prefix)
		if !ok || !strings.HasSuffix(name, passes.LoRAASuffix) && !strings.HasSuffix(name, passes.LoRABSuffix) {
			return fail(weights, fmt.Errorf("tensor %q is no matrix of a LoRA adapter", info.Name))
		}
		t, err := f.Tensor(info.Name)
		if err == nil {
			t, err = t.Clone().ToF32()
		}
		if err != nil {
			return fail(weights, fmt.Errorf("tensor %s: %w", info.Name, err))
		}
		a.Tensors[name] = t
	}
	if err := a.pairs(); err != nil {
		return fail(weights, err)
	}
	return a, nil
}

// pairs checks that the matrices come in pairs of the right rank.
func (a *Adapter) pairs() error {
	if len(a.Tensors) == 0 {
		return fmt.Errorf("there are no tensors")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Tensors)) {
		t := a.Tensors[name]
		axis, other := 0, ""
		if base, ok := strings.CutSuffix(name, passes.LoRAASuffix); ok {
			other = base + passes.LoRABSuffix
		} else {
			axis, other = 1, strings.TrimSuffix(name, passes.LoRABSuffix)+passes.LoRAASuffix
		}
		if len(t.Dims) != 2 || t.Dims[axis] != a.Rank {
			return fmt.Errorf("tensor %s has shape %v, which is not of rank %d", name, t.Dims, a.Rank)
		}
		if _, ok := a.Tensors[other]; !ok {
			return fmt.Errorf("tensor %s has no counterpart %s", name, other)
		}
	}
	return nil
}

func parse(text []byte) (Config, error) {
	var f struct {
		Type     string          `json:"peft_type"`
		Base     string          `json:"base_model_name_or_path"`
		Rank     int             `json:"r"`
		Alpha    float64         `json:"lora_alpha"`
		RS       bool            `json:"use_rslora"`
		DoRA     bool            `json:"use_dora"`
		Bias     string          `json:"bias"`
		FanInOut bool            `json:"fan_in_fan_out"`
		Targets  json.RawMessage `json:"target_modules"`
		Save     []string        `json:"modules_to_save"`
		Ranks    map[string]any  `json:"rank_pattern"`
		Alphas   map[string]any  `json:"alpha_pattern"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return Config{}, err
	}
	switch {
	case f.Type != "LORA":
		return Config{}, fmt.Errorf("peft_type %q is not supported, only LORA", f.Type)
	case f.DoRA:
		return Config{}, fmt.Errorf("use_dora is true; DoRA is not supported")
	case f.Bias != "" && f.Bias != "none":
		return Config{}, fmt.Errorf("bias %q is not supported, only none", f.Bias)
	case f.FanInOut:
		return Config{}, fmt.Errorf("fan_in_fan_out is true, which is not supported")
	case len(f.Save) > 0:
		return Config{}, fmt.Errorf("modules_to_save %v is not supported", f.Save)
	case len(f.Ranks) > 0 || len(f.Alphas) > 0:
		return Config{}, fmt.Errorf("rank_pattern and alpha_pattern are not supported")
	}
	c := Config{Rank: f.Rank, Alpha: f.Alpha, RSLoRA: f.RS, Base: f.Base}
	// Which modules there are is seen from the tensors; this may be a pattern.
	if json.Unmarshal(f.Targets, &c.Targets) != nil {
		c.Targets = nil
	}
	return c, c.check()
}

// Pass adds the adapter to a declared model. It is the first pass of a pipeline.
// A matrix that fits no projection of the model is an error.
func (a *Adapter) Pass() passes.Pass {
	used := map[string]bool{}
	inner := passes.LoRA(func(param string) passes.Adapter {
		an, bn := passes.LoRANames(param)
		if _, ok := a.Tensors[an]; !ok {
			return passes.Adapter{}
		}
		used[an], used[bn] = true, true
		return passes.Adapter{Rank: a.Rank, Scale: a.Scale()}
	})
	return passes.Pass{Name: inner.Name, Run: func(g *graph.Graph) (*graph.Graph, error) {
		out, err := inner.Run(g)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(a.Tensors)) {
			if !used[name] {
				return nil, fmt.Errorf("adapter %s: the model has no projection for tensor %s", a.dir, name)
			}
		}
		for _, p := range out.Params() {
			name := graph.SourceName(p)
			t, ok := a.Tensors[name]
			if want, err := p.Out[0].Shape.Eval(nil); ok && (err != nil || !slices.Equal(want, t.Dims)) {
				return nil, fmt.Errorf("adapter %s: tensor %s has shape %v, the model wants %v", a.dir, name, t.Dims, want)
			}
		}
		return out, nil
	}}
}

// Source supplies tensors by name, as runtime.Source does.
type Source interface {
	Tensor(ctx context.Context, name string) (graph.Tensor, error)
}

// Source supplies the adapter's matrices, and everything else from base.
func (a *Adapter) Source(base Source) Source { return source{a, base} }

type source struct {
	a    *Adapter
	base Source
}

func (s source) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	if t, ok := s.a.Tensors[name]; ok {
		return t, nil
	}
	return s.base.Tensor(ctx, name)
}
