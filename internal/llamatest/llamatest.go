// Package llamatest writes small random Llama models without quantization, as
// Hugging Face's transformers would, for tests.
package llamatest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
)

// Model is the shape of a model, and how its weights are drawn.
type Model struct {
	Vocab, Hidden, FFN, Layers, Heads, KVHeads int
	Theta, Eps                                 float64
	Tied                                       bool
	Std                                        float64 // of matrices; embeddings have three times as much
	Seed                                       uint64
}

// Write writes config.json and model.safetensors to a folder that exists, and
// returns the weights by name. Norm weights are near 1.
func (m Model) Write(t testing.TB, dir string) map[string]graph.Tensor {
	t.Helper()
	r := rand.New(rand.NewPCG(m.Seed, 26))
	weights := map[string]graph.Tensor{}
	var entries []safetensors.Entry
	add := func(name string, mean, std float64, dims ...int) {
		x := graph.NewTensor(graph.F32, dims...)
		for i := range x.F32() {
			x.F32()[i] = float32(mean + std*r.NormFloat64())
		}
		weights[name] = x
		entries = append(entries, safetensors.EntryOf(name, x))
	}
	kv := m.KVHeads * m.Hidden / m.Heads
	add("model.embed_tokens.weight", 0, 3*m.Std, m.Vocab, m.Hidden)
	for l := range m.Layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(p+"input_layernorm.weight", 1, 0.1, m.Hidden)
		add(p+"self_attn.q_proj.weight", 0, m.Std, m.Hidden, m.Hidden)
		add(p+"self_attn.k_proj.weight", 0, m.Std, kv, m.Hidden)
		add(p+"self_attn.v_proj.weight", 0, m.Std, kv, m.Hidden)
		add(p+"self_attn.o_proj.weight", 0, m.Std, m.Hidden, m.Hidden)
		add(p+"post_attention_layernorm.weight", 1, 0.1, m.Hidden)
		add(p+"mlp.gate_proj.weight", 0, m.Std, m.FFN, m.Hidden)
		add(p+"mlp.up_proj.weight", 0, m.Std, m.FFN, m.Hidden)
		add(p+"mlp.down_proj.weight", 0, m.Std, m.Hidden, m.FFN)
	}
	add("model.norm.weight", 1, 0.1, m.Hidden)
	if !m.Tied {
		add("lm_head.weight", 0, m.Std, m.Vocab, m.Hidden)
	}
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
		"vocab_size": m.Vocab, "hidden_size": m.Hidden, "intermediate_size": m.FFN, "num_hidden_layers": m.Layers,
		"num_attention_heads": m.Heads, "num_key_value_heads": m.KVHeads, "rms_norm_eps": m.Eps, "rope_theta": m.Theta,
		"max_position_embeddings": 256, "tie_word_embeddings": m.Tied,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666)
	}
	if err == nil {
		err = safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return weights
}
