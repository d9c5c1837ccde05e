// Package bitnet158 declares BitNet b1.58, the architecture of
// microsoft/bitnet-b1.58-2B-4T, as a graph (Ma et al. 2025, "BitNet b1.58 2B4T
// Technical Report"). The declaration is pure: quantization, the key/value cache
// and fusion are the business of passes.
package bitnet158

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// Config describes a model; see [checkpoint.Config]. Elem is the element type of
// the embedding, the head and the masters: F32 for training, that of the file
// for inference. Norm weights are always F32.
type Config = checkpoint.Config

// Declare adds the model to b and returns its logits f32[S,vocab].
func Declare(b *graph.Builder, cfg Config, tok layer.Tokens) graph.Value {
	nn := layer.Net{Elem: cfg.Elem, Quant: bitlinear.Default}
	nn.Quant.Group = cfg.Group
	if cfg.ActBits != 0 {
		nn.Quant.Bits = cfg.ActBits
	}
	if cfg.ProjNorm {
		nn.ProjNorm = cfg.NormEps
	}
	leave := b.Scope("model")
	x, table := nn.Embed(tok.IDs, "embed_tokens", cfg.Vocab, cfg.Hidden)
	x = layer.Repeat(x, "layers", cfg.Layers, func(x graph.Value) graph.Value {
		a := nn.Norm(x, "input_layernorm", cfg.NormEps)
		x = ops.Add(layer.In(a, "self_attn", func(a graph.Value) graph.Value { return attention(nn, a, cfg, tok) }), x)
		m := nn.Norm(x, "post_attention_layernorm", cfg.NormEps)
		return ops.Add(layer.In(m, "mlp", func(m graph.Value) graph.Value { return ffn(nn, m, cfg) }), x)
	})
	x = nn.Norm(x, "norm", cfg.NormEps)
	leave()
	if cfg.Tied {
		return b.Name(ops.Linear(x, table), "logits")
	}
	return b.Name(nn.Linear(x, "lm_head", cfg.Vocab), "logits")
}

// attention is grouped-query attention over rotary queries and keys, with a
// norm before the output projection (SubLN).
func attention(nn layer.Net, a graph.Value, cfg Config, tok layer.Tokens) graph.Value {
	q := nn.BitLinear(a, "q_proj", cfg.Heads*cfg.HeadDim)
	k := nn.BitLinear(a, "k_proj", cfg.KVHeads*cfg.HeadDim)
	v := nn.BitLinear(a, "v_proj", cfg.KVHeads*cfg.HeadDim)
	q = ops.RoPE(q, tok.Pos, cfg.Theta, cfg.HeadDim)
	k = ops.RoPE(k, tok.Pos, cfg.Theta, cfg.HeadDim)
	o := ops.Attention(q, k, v, tok.Seq, tok.Pos, ops.AttentionAttrs{Heads: cfg.Heads, KVHeads: cfg.KVHeads})
	if cfg.SubNorm {
		o = nn.Norm(o, "attn_sub_norm", cfg.NormEps)
	}
	return nn.BitLinear(o, "o_proj", cfg.Hidden)
}

// ffn is the gated feed-forward layer, with a norm before the down projection.
func ffn(nn layer.Net, m graph.Value, cfg Config) graph.Value {
	act := ops.ReLU2
	if cfg.Act == checkpoint.SiLU {
		act = ops.SiLU
	}
	gate := nn.BitLinear(m, "gate_proj", cfg.FFN)
	up := nn.BitLinear(m, "up_proj", cfg.FFN)
	h := ops.Mul(act(gate), up)
	if cfg.SubNorm {
		h = nn.Norm(h, "ffn_sub_norm", cfg.NormEps)
	}
	return nn.BitLinear(h, "down_proj", cfg.Hidden)
}

// Forward is the model as a graph of its own, for steps of at most maxTokens
// tokens.
func Forward(cfg Config, maxTokens int) (*graph.Graph, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := graph.NewBuilder("bitnet158")
	return b.Finish(Declare(b, cfg, layer.Inputs(b, maxTokens)))
}
