package checkpoint

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/gguf"
)

// The architectures that GGUF files of BitNet models name.
const (
	archOld = "bitnet"       // llama.cpp; the graph has SiLU built in
	arch25  = "bitnet-25"    // Microsoft's fork, early 2025
	arch158 = "bitnet-b1.58" // the same, renamed
)

// metadata reads keys of one architecture and remembers the first failure.
type metadata struct {
	h    *gguf.Header
	arch string
	err  error
}

func (m *metadata) fail(key string, v gguf.Value, want string) {
	if m.err == nil {
		m.err = fmt.Errorf("metadata key %s is %v of type %v, want %s", key, v, v.Type, want)
	}
}

// integer reads a non-negative integer; the second result tells whether the
// key is there.
func (m *metadata) integer(key string, fallback int) (int, bool) {
	v, ok := m.h.Get(key)
	if !ok {
		return fallback, false
	}
	n, good := v.Int()
	if !good || n < 0 || n > 1<<31 {
		m.fail(key, v, "a non-negative integer")
		return fallback, false
	}
	return int(n), true
}

func (m *metadata) need(key string) int {
	key = m.arch + "." + key
	n, ok := m.integer(key, 0)
	if !ok && m.err == nil {
		m.err = fmt.Errorf("metadata key %s is missing", key)
	}
	return n
}

func (m *metadata) float(key string, fallback float64) float64 {
	v, ok := m.h.Get(key)
	if !ok {
		return fallback
	}
	f, good := v.Float()
	if !good {
		m.fail(key, v, "a number")
		return fallback
	}
	if v.Type == gguf.TypeFloat32 {
		return tidy(float32(f))
	}
	return f
}

// tidy returns the shortest decimal that is f as float32, so that 1e-05 stored
// as float32 reads as 1e-05 again.
func tidy(f float32) float64 {
	var d float64
	if _, err := fmt.Sscan(fmt.Sprint(f), &d); err != nil {
		return float64(f)
	}
	return d
}

func (m *metadata) text(key string) string {
	v, ok := m.h.Get(key)
	if !ok {
		return ""
	}
	s, good := v.Text()
	if !good {
		m.fail(key, v, "a string")
	}
	return s
}

func (m *metadata) id(key string) int {
	n, ok := m.integer(key, -1)
	if !ok || n == 1<<32-1 {
		return -1
	}
	return n
}

func (m *metadata) flag(key string) *bool {
	v, ok := m.h.Get(key)
	if !ok {
		return nil
	}
	b, good := v.Bool()
	if !good {
		m.fail(key, v, "a boolean")
	}
	return &b
}

// ggufConfig reads the configuration; defaults are llama.cpp's.
func ggufConfig(h *gguf.Header) (Config, []string, error) {
	m := &metadata{h: h, arch: h.Architecture()}
	switch m.arch {
	case archOld, arch25, arch158:
	case "":
		return Config{}, nil, errors.New("metadata key general.architecture is missing")
	default:
		return Config{}, nil, fmt.Errorf("architecture %q is not supported, only %s, %s and %s", m.arch, archOld, arch25, arch158)
	}
	c := Config{ModelType: "bitnet", SubNorm: true, Form: Ternary, Act: ReLU2}
	c.Name = m.text("general.name")
	c.Hidden = m.need("embedding_length")
	c.FFN = m.need("feed_forward_length")
	c.Layers = m.need("block_count")
	c.Heads = m.need("attention.head_count")
	key := func(k string) string { return m.arch + "." + k }
	c.KVHeads, _ = m.integer(key("attention.head_count_kv"), c.Heads)
	c.Context, _ = m.integer(key("context_length"), 0)
	c.NormEps = m.float(key("attention.layer_norm_rms_epsilon"), 1e-5)
	c.Theta = m.float(key("rope.freq_base"), 10000)
	head := 0
	if c.Heads > 0 {
		head = c.Hidden / c.Heads
	}
	c.HeadDim, _ = m.integer(key("attention.key_length"), head)
	c.BOS, c.Pad = m.id("tokenizer.ggml.bos_token_id"), m.id("tokenizer.ggml.padding_token_id")
	for _, k := range []string{"eos", "eot"} {
		if id := m.id("tokenizer.ggml." + k + "_token_id"); id >= 0 && (len(c.EOS) == 0 || c.EOS[0] != id) {
			c.EOS = append(c.EOS, id)
		}
	}
	m.rope(&c)
	m.embedding(&c)
	warnings := m.activation(&c)
	if m.err != nil {
		return c, nil, m.err
	}
	return c, warnings, c.Validate()
}

func (m *metadata) rope(c *Config) {
	key := m.arch + ".rope."
	n, ok := m.integer(key+"dimension_count", 0)
	if ok && n != c.HeadDim && m.err == nil {
		m.err = fmt.Errorf("%sdimension_count is %d, heads have %d; partial rotation is not supported", key, n, c.HeadDim)
	}
	kind, factor := m.text(key+"scaling.type"), m.float(key+"scaling.factor", 1)
	if kind != "" && kind != "none" && !(kind == "linear" && factor == 1) && m.err == nil {
		m.err = fmt.Errorf("%sscaling.type is %q with factor %v; rotary scaling is not supported", key, kind, factor)
	}
}

// embedding settles the vocabulary's size, the head and the float type.
func (m *metadata) embedding(c *Config) {
	if t, ok := m.h.Tensor("token_embd.weight"); ok {
		c.Vocab = t.Dims[0]
		c.Elem = graph.F32
		if elem, ok := plainFloats[t.Type]; ok {
			c.Elem = elem
		}
	}
	c.Vocab, _ = m.integer(m.arch+".vocab_size", c.Vocab)
	_, head := m.h.Tensor("output.weight")
	c.Tied = !head
}

// activation: the newer architectures mean squared ReLU. llama.cpp's bitnet has
// SiLU in its graph, yet files made from models with squared ReLU exist.
func (m *metadata) activation(c *Config) []string {
	act := m.text(m.arch + ".hidden_activation")
	if m.arch != archOld {
		return nil
	}
	c.Act = SiLU
	switch act {
	case "":
		return []string{"architecture bitnet: the feed-forward network uses SiLU, as in llama.cpp; a file made from a model with squared ReLU, such as BitNet-b1.58-2B-4T, needs architecture bitnet-b1.58"}
	case "silu", "swiglu":
	case "relu2", "relu_sqr", "relu_squared":
		c.Act = ReLU2
	default:
		c.Act = act // Validate names it
	}
	return []string{fmt.Sprintf("architecture bitnet: hidden_activation says %s; llama.cpp runs SiLU whatever it says", act)}
}

// ggufVocab reads the tokenizer's metadata; nil if there are none.
func ggufVocab(h *gguf.Header) (*Vocab, error) {
	m := &metadata{h: h}
	const p = "tokenizer.ggml."
	v := &Vocab{Model: m.text(p + "model"), Pre: m.text(p + "pre"), ChatTemplate: m.text("tokenizer.chat_template")}
	if v.Model == "" || v.Model == "no_vocab" {
		return nil, m.err
	}
	v.BOS, v.EOS, v.EOT = m.id(p+"bos_token_id"), m.id(p+"eos_token_id"), m.id(p+"eot_token_id")
	v.Unknown, v.Pad = m.id(p+"unknown_token_id"), m.id(p+"padding_token_id")
	v.AddBOS, v.AddEOS, v.AddSpacePrefix = m.flag(p+"add_bos_token"), m.flag(p+"add_eos_token"), m.flag(p+"add_space_prefix")
	if raw, ok := h.Get(p + "tokens"); ok {
		if v.Tokens, ok = raw.Texts(); !ok {
			m.fail(p+"tokens", raw, "an array of strings")
		}
	}
	if raw, ok := h.Get(p + "merges"); ok {
		if v.Merges, ok = raw.Texts(); !ok {
			m.fail(p+"merges", raw, "an array of strings")
		}
	}
	if raw, ok := h.Get(p + "scores"); ok {
		if v.Scores, ok = raw.Float32s(); !ok || len(v.Scores) != len(v.Tokens) {
			m.fail(p+"scores", raw, "one f32 per token")
		}
	}
	if raw, ok := h.Get(p + "token_type"); ok {
		ints, ok := raw.Ints()
		if !ok || len(ints) != len(v.Tokens) {
			m.fail(p+"token_type", raw, "one integer per token")
		}
		for _, n := range ints {
			v.Types = append(v.Types, int32(n))
		}
	}
	return v, m.err
}
