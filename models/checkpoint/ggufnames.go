package checkpoint

import "strings"

// GGUF's names beside Hugging Face's.
var (
	ggufTop = map[string]string{
		"model.embed_tokens.weight": "token_embd.weight",
		"model.norm.weight":         "output_norm.weight",
		"lm_head.weight":            "output.weight",
	}
	ggufLayer = map[string]string{
		"input_layernorm.weight":          "attn_norm.weight",
		"self_attn.q_proj.weight":         "attn_q.weight",
		"self_attn.k_proj.weight":         "attn_k.weight",
		"self_attn.v_proj.weight":         "attn_v.weight",
		"self_attn.attn_sub_norm.weight":  "attn_sub_norm.weight",
		"self_attn.o_proj.weight":         "attn_output.weight",
		"post_attention_layernorm.weight": "ffn_norm.weight",
		"mlp.gate_proj.weight":            "ffn_gate.weight",
		"mlp.up_proj.weight":              "ffn_up.weight",
		"mlp.ffn_sub_norm.weight":         "ffn_sub_norm.weight",
		"mlp.down_proj.weight":            "ffn_down.weight",
	}
)

// ggufName is the name in a GGUF file of a tensor of [Config.Specs].
func ggufName(hf string) string {
	if name, ok := ggufTop[hf]; ok {
		return name
	}
	layer, rest, _ := strings.Cut(strings.TrimPrefix(hf, "model.layers."), ".")
	return "blk." + layer + "." + ggufLayer[rest]
}
