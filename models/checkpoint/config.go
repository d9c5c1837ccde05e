package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// Form says what a file holds for the ternary projections.
type Form uint8

const (
	// Masters are float weights that the absmean quantiser makes ternary; the
	// only form that can be trained further ("online").
	Masters Form = iota
	// Ternary are codes -1, 0, +1 with one scale a matrix ("offline").
	Ternary
)

func (f Form) String() string {
	if f == Ternary {
		return "ternary"
	}
	return "masters"
}

// The activations of the feed-forward network.
const (
	ReLU2 = "relu2" // max(x, 0)²
	SiLU  = "silu"  // x · sigmoid(x)
)

// Config describes a model, whatever kind of file it came from.
type Config struct {
	ModelType string // "bitnet", or "llama" for Llama models with BitNet projections
	Name      string // free text; empty if the file has none

	Vocab   int // tokens
	Hidden  int // width of the residual stream
	FFN     int // width of the feed-forward network
	Layers  int
	Heads   int // query heads
	KVHeads int // key and value heads; divides Heads
	HeadDim int // width of one head
	Context int // longest sequence the model was trained for; 0 if not stated

	Act     string // ReLU2 or SiLU
	SubNorm bool   // RMSNorms before o_proj and down_proj, as BitNet b1.58 has
	Tied    bool   // the head is the embedding
	// ProjNorm is an RMSNorm with weights of its own before each ternary
	// projection, as in the first BitNet papers and transformers' use_rms_norm.
	ProjNorm bool
	ActBits  int // bits of a projection's quantized input: 8, which 0 means too, or 4
	Group    int // weights along a row that share a scale; 0: the whole matrix does
	NormEps  float64
	Theta    float64 // rope base, rotate-half pairing

	BOS int   // -1 if none
	EOS []int // every id that ends a text; may be empty
	Pad int   // -1 if none

	Elem graph.DType // element type of the model's floats, as declared
	Form Form
	// Float is a model without quantization, whose masters are used as they are;
	// see [FullPrecision].
	Float bool

	// Extra holds config.json fields that mean nothing here, to write them back.
	Extra map[string]json.RawMessage
}

// Limits on what a file may claim. They keep products inside int64 and absurd
// files from being taken seriously, far above every real model.
const (
	maxVocab  = 1 << 24
	maxWidth  = 1 << 20
	maxLayers = 1 << 12
	maxHeads  = 1 << 14
)

// Validate reports every inconsistency of the configuration.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name     string
		v, limit int
	}{
		{"vocab_size", c.Vocab, maxVocab},
		{"hidden_size", c.Hidden, maxWidth},
		{"intermediate_size", c.FFN, maxWidth},
		{"num_hidden_layers", c.Layers, maxLayers},
		{"num_attention_heads", c.Heads, maxHeads},
		{"num_key_value_heads", c.KVHeads, maxHeads},
		{"head_dim", c.HeadDim, maxWidth},
	} {
		if f.v < 1 || f.v > f.limit {
			fail("%s is %d, want 1 to %d", f.name, f.v, f.limit)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.Heads%c.KVHeads != 0 {
		fail("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		fail("head_dim %d is odd; rotary embedding needs pairs", c.HeadDim)
	}
	if c.Heads*c.HeadDim > maxWidth {
		fail("%d heads of %d exceed a width of %d", c.Heads, c.HeadDim, maxWidth)
	}
	if c.SubNorm && c.Heads*c.HeadDim != c.Hidden {
		fail("attn_sub_norm spans hidden_size %d, but the heads give %d×%d", c.Hidden, c.Heads, c.HeadDim)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		fail("rms_norm_eps %v is not in (0, 1)", c.NormEps)
	}
	if !(c.Theta > 1 && c.Theta < 1e12) {
		fail("rope_theta %v is not in (1, 1e12)", c.Theta)
	}
	if c.Act != ReLU2 && c.Act != SiLU {
		fail("hidden_act %q is not supported, only %q and %q", c.Act, ReLU2, SiLU)
	}
	if c.ActBits != 0 && c.ActBits != 8 && c.ActBits != 4 {
		fail("act_bits is %d, want 8 or 4", c.ActBits)
	}
	for _, width := range []int{c.Hidden, c.Heads * c.HeadDim, c.FFN} {
		if c.Group < 0 || c.Group > 0 && width%c.Group != 0 {
			fail("rows of %d weights cannot be cut into groups of %d", width, c.Group)
		}
	}
	if c.Context < 0 {
		fail("max_position_embeddings is %d", c.Context)
	}
	return errors.Join(errs...)
}

// ProjNormName ends the name of a projection's own norm, in place of its weight's
// "weight".
const ProjNormName = "rms_norm.weight"

// errGroups says why a form cannot hold the model.
func (c *Config) errGroups(form string) error {
	return fmt.Errorf("%s holds one scale for a matrix, the model has one for each %d weights: write masters (form online), or train with group 0", form, c.Group)
}

// ownQuantizers reports whether the model's quantizers are not those that other
// programs apply to BitNet b1.58.
func (c *Config) ownQuantizers() bool { return c.Group != 0 || c.ActBits == 4 }

// Spec is one tensor that a model of some configuration consists of.
type Spec struct {
	Name   string // Hugging Face's name
	Dims   []int  // outermost first; [out, in] for projections
	Linear bool   // a ternary projection; everything else stays float
}

// Specs lists the model's tensors in the order of its layers.
func (c *Config) Specs() []Spec {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	specs := []Spec{{Name: "model.embed_tokens.weight", Dims: []int{c.Vocab, c.Hidden}}}
	for i := range c.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		norm := func(name string, n int) { specs = append(specs, Spec{Name: p + name, Dims: []int{n}}) }
		proj := func(name string, out, in int) {
			if c.ProjNorm {
				norm(strings.TrimSuffix(name, "weight")+ProjNormName, in)
			}
			specs = append(specs, Spec{Name: p + name, Dims: []int{out, in}, Linear: true})
		}
		norm("input_layernorm.weight", c.Hidden)
		proj("self_attn.q_proj.weight", q, c.Hidden)
		proj("self_attn.k_proj.weight", kv, c.Hidden)
		proj("self_attn.v_proj.weight", kv, c.Hidden)
		if c.SubNorm {
			norm("self_attn.attn_sub_norm.weight", q)
		}
		proj("self_attn.o_proj.weight", c.Hidden, q)
		norm("post_attention_layernorm.weight", c.Hidden)
		proj("mlp.gate_proj.weight", c.FFN, c.Hidden)
		proj("mlp.up_proj.weight", c.FFN, c.Hidden)
		if c.SubNorm {
			norm("mlp.ffn_sub_norm.weight", c.FFN)
		}
		proj("mlp.down_proj.weight", c.Hidden, c.FFN)
	}
	specs = append(specs, Spec{Name: "model.norm.weight", Dims: []int{c.Hidden}})
	if !c.Tied {
		specs = append(specs, Spec{Name: "lm_head.weight", Dims: []int{c.Vocab, c.Hidden}})
	}
	return specs
}
