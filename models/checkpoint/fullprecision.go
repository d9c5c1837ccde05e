package checkpoint

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// FullPrecision also opens models without quantization: Llama, Mistral where
// attention spans the whole context, and the unquantized twins of BitNet models.
// Config.Float tells that the model is one. Such a model is what ternary training
// starts from, and what it is distilled from; it has no ternary form of its own.
func FullPrecision() Option { return func(o *options) { o.float = true } }

// The families of transformers by their architecture, and what keeps them from
// being read. An empty reason is a family that is read.
var families = map[string]struct{ modelType, reason string }{
	"BitNetForCausalLM":  {"bitnet", ""},
	"BitnetForCausalLM":  {"bitnet", ""},
	"LlamaForCausalLM":   {"llama", ""},
	"MistralForCausalLM": {"mistral", ""},

	"Qwen2ForCausalLM":      {"qwen2", "it has biases on the query, key and value projections"},
	"Qwen2MoeForCausalLM":   {"qwen2_moe", "it has biases on the query, key and value projections, and experts"},
	"Qwen3ForCausalLM":      {"qwen3", "it has norms on queries and keys"},
	"Qwen3MoeForCausalLM":   {"qwen3_moe", "it has norms on queries and keys, and experts"},
	"MixtralForCausalLM":    {"mixtral", "it has experts"},
	"GemmaForCausalLM":      {"gemma", "it scales embeddings and adds 1 to norm weights"},
	"Gemma2ForCausalLM":     {"gemma2", "it scales embeddings, adds 1 to norm weights and caps scores"},
	"Gemma3ForCausalLM":     {"gemma3_text", "it scales embeddings, adds 1 to norm weights and has norms on queries and keys"},
	"PhiForCausalLM":        {"phi", "it has LayerNorm and a rotation of a part of each head"},
	"Phi3ForCausalLM":       {"phi3", "its query, key and value projections are one tensor, and so are gate and up"},
	"GraniteForCausalLM":    {"granite", "it multiplies embeddings, residuals, scores and logits by constants"},
	"OlmoForCausalLM":       {"olmo", "its norms have no weights"},
	"Olmo2ForCausalLM":      {"olmo2", "its norms stand behind the layers"},
	"CohereForCausalLM":     {"cohere", "its attention and feed-forward layers run side by side on a LayerNorm"},
	"FalconForCausalLM":     {"falcon", "its attention and feed-forward layers run side by side on a LayerNorm"},
	"GPT2LMHeadModel":       {"gpt2", "it has learned positions and LayerNorm"},
	"GPTNeoXForCausalLM":    {"gpt_neox", "its attention and feed-forward layers run side by side on a LayerNorm"},
	"SmolLM3ForCausalLM":    {"smollm3", "some of its layers have no rotary positions"},
	"StableLmForCausalLM":   {"stablelm", "it has LayerNorm and a rotation of a part of each head"},
	"DeepseekV3ForCausalLM": {"deepseek_v3", "it has latent attention and experts"},
}

// unreadable is why a family is not read, "" if it is or if nothing is known.
func unreadable(arch []string, modelType string) string {
	for name, f := range families {
		if f.reason != "" && (slices.Contains(arch, name) || modelType == f.modelType) {
			return ": " + f.reason
		}
	}
	return ""
}

// setDefaults sets what holds where config.json leaves a key out: transformers'
// defaults for Llama and Mistral differ from those for BitNet.
func (c *hfConfig) setDefaults(arch []string) {
	llama := (c.ModelType == "llama" || c.ModelType == "mistral") && !slices.Contains(arch, "BitnetForCausalLM") ||
		c.ModelType == "" && (slices.Contains(arch, "LlamaForCausalLM") || slices.Contains(arch, "MistralForCausalLM"))
	c.Act, c.NormEps, c.Theta, c.BOS, c.Pad, c.Elem = ReLU2, 1e-5, 500000, -1, -1, graph.F32
	if llama {
		c.Act, c.NormEps, c.Theta = SiLU, 1e-6, 10000
	}
}

// setFloat accepts a model without quantization_config, if o says so.
func (c *hfConfig) setFloat(o options, window int) error {
	switch {
	case o.float:
		c.Float = true
		if c.ModelType == "mistral" {
			if window > 0 && (c.Context == 0 || window < c.Context) {
				return fmt.Errorf("sliding_window is %d: attention over a part of the context is not supported; set sliding_window to null if the model is only used up to that length", window)
			}
			c.ModelType = "llama" // the same but for the window
		}
	case c.ModelType == "llama" || c.ModelType == "mistral":
		return errors.New("a llama model without quantization_config has no ternary weights; train some from it with trit train --init")
	default:
		c.warnings = append(c.warnings, "config.json has no quantization_config; the weights are taken as BitNet masters")
	}
	return nil
}
