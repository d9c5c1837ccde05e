package bitnet158

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
)

// FromFloat is the configuration of the ternary model that training makes of a
// model without quantization: the same shape, its masters in f32. With subNorm
// it gains the norms before the output and down projections that BitNet b1.58 has
// (SubLN), whose weights the float model lacks, and is written as a
// BitNetForCausalLM; without, as a LlamaForCausalLM with BitNet quantization.
// act replaces the activation if it is not empty.
func FromFloat(cfg Config, subNorm bool, act string) (Config, error) {
	if !cfg.Float {
		return cfg, errors.New("the model is quantized already")
	}
	cfg.Float, cfg.Elem, cfg.Form = false, graph.F32, checkpoint.Masters
	cfg.SubNorm = cfg.SubNorm || subNorm
	cfg.ModelType = "llama"
	if cfg.SubNorm {
		cfg.ModelType = "bitnet"
	}
	if act != "" {
		cfg.Act = act
	}
	if cfg.SubNorm && cfg.Heads*cfg.HeadDim != cfg.Hidden {
		return cfg, fmt.Errorf("BitNet's norm before o_proj has hidden_size %d weights, but %d heads of %d are %d wide: convert without the norms", cfg.Hidden, cfg.Heads, cfg.HeadDim, cfg.Heads*cfg.HeadDim)
	}
	return cfg, cfg.Validate()
}
