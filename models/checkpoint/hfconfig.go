package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// hfConfig is what config.json says, before the tensors are looked at.
type hfConfig struct {
	Config
	tied     *bool // nil if the key is absent
	divide   bool  // weight_scale holds 1/gamma
	warnings []string
}

// fields reads a JSON object key by key with exact names, unlike decoding into
// a struct, and remembers the first failure and which keys were used.
type fields struct {
	m    map[string]json.RawMessage
	used map[string]bool
	err  error
}

func parseFields(text []byte) (*fields, error) {
	f := &fields{used: make(map[string]bool)}
	if err := json.Unmarshal(text, &f.m); err != nil {
		return nil, err
	}
	if f.m == nil {
		return nil, errors.New("no JSON object")
	}
	return f, nil
}

// get decodes the value of key into v and reports whether there was one; null
// counts as absent.
func (f *fields) get(key string, v any) bool {
	raw, ok := f.m[key]
	f.used[key] = true
	if !ok || string(raw) == "null" {
		return false
	}
	if err := json.Unmarshal(raw, v); err != nil {
		if f.err == nil {
			f.err = fmt.Errorf("%s: %w", key, err)
		}
		return false
	}
	return true
}

// parseHFConfig reads config.json. Defaults are those of transformers'
// BitNetConfig, or LlamaConfig, where a published file may leave a key out.
func parseHFConfig(text []byte, o options) (*hfConfig, error) {
	f, err := parseFields(text)
	if err != nil {
		return nil, err
	}
	c := &hfConfig{}
	var arch []string
	f.get("architectures", &arch)
	f.get("model_type", &c.ModelType)
	c.setDefaults(arch)
	f.get("_name_or_path", &c.Name)
	f.get("vocab_size", &c.Vocab)
	f.get("hidden_size", &c.Hidden)
	f.get("intermediate_size", &c.FFN)
	f.get("num_hidden_layers", &c.Layers)
	f.get("num_attention_heads", &c.Heads)
	if !f.get("num_key_value_heads", &c.KVHeads) {
		c.KVHeads = c.Heads
	}
	if !f.get("head_dim", &c.HeadDim) && c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
		if c.HeadDim*c.Heads != c.Hidden {
			return nil, fmt.Errorf("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
		}
	}
	f.get("max_position_embeddings", &c.Context)
	f.get("hidden_act", &c.Act)
	f.get("rms_norm_eps", &c.NormEps)
	f.get("bos_token_id", &c.BOS)
	f.get("pad_token_id", &c.Pad)
	var eos any
	if f.get("eos_token_id", &eos) && f.err == nil {
		f.err = c.setEOS(f.m["eos_token_id"])
	}
	if f.get("tie_word_embeddings", &c.Tied) {
		c.tied = &c.Tied
	}
	var bias bool
	if f.get("attention_bias", &bias) && bias || f.get("mlp_bias", &bias) && bias {
		return nil, errors.New("attention_bias or mlp_bias is true; biases are not supported")
	}
	var dtype string
	if f.get("torch_dtype", &dtype) || f.get("dtype", &dtype) {
		if c.Elem, err = parseTorchDType(dtype); err != nil {
			return nil, err
		}
	}
	f.used["dtype"] = true
	f.rope(&c.Config)
	if f.err != nil {
		return nil, f.err
	}
	if err := c.setFamily(arch); err != nil {
		return nil, err
	}
	if err := c.setQuantization(f, o); err != nil {
		return nil, err
	}
	if c.Group != 0 && c.Form == Ternary {
		return nil, fmt.Errorf("quantization_config: %w", c.errGroups("quantization_mode offline"))
	}
	// Remote code of the original folder would not be beside a written one.
	f.used["auto_map"], f.used["transformers_version"] = true, true
	c.Extra = maps.Clone(f.m)
	maps.DeleteFunc(c.Extra, func(k string, _ json.RawMessage) bool { return f.used[k] })
	return c, c.Validate()
}

func (c *Config) setEOS(raw json.RawMessage) error {
	var one int
	if json.Unmarshal(raw, &one) == nil {
		c.EOS = []int{one}
		return nil
	}
	if err := json.Unmarshal(raw, &c.EOS); err != nil {
		return fmt.Errorf("eos_token_id: %s is neither an id nor a list of ids", raw)
	}
	return nil
}

func parseTorchDType(s string) (graph.DType, error) {
	switch strings.TrimPrefix(s, "torch.") {
	case "float32", "float":
		return graph.F32, nil
	case "bfloat16":
		return graph.BF16, nil
	case "float16", "half":
		return graph.F16, nil
	}
	return graph.InvalidDType, fmt.Errorf("torch_dtype %q is not supported, only float32, bfloat16 and float16", s)
}

// rope reads the rotary base, which transformers 5 keeps in rope_parameters
// and earlier versions beside rope_scaling. Scaled variants are refused.
func (f *fields) rope(c *Config) {
	f.get("rope_theta", &c.Theta)
	for _, key := range []string{"rope_parameters", "rope_scaling"} {
		var p struct {
			Theta *float64 `json:"rope_theta"`
			Type  string   `json:"rope_type"`
			Old   string   `json:"type"`
		}
		if !f.get(key, &p) {
			continue
		}
		if p.Theta != nil {
			c.Theta = *p.Theta
		}
		if kind := p.Type + p.Old; kind != "" && kind != "default" && kind != "defaultdefault" && f.err == nil {
			f.err = fmt.Errorf("%s: rotary scaling %q is not supported", key, kind)
		}
	}
}

// setFamily accepts the families that are BitNet b1.58 in transformers' sense,
// and those that are so without quantization.
func (c *hfConfig) setFamily(arch []string) error {
	const want = "only BitNetForCausalLM, LlamaForCausalLM and MistralForCausalLM"
	for _, a := range arch {
		if f, ok := families[a]; !ok || f.reason != "" {
			return fmt.Errorf("architecture %s is not supported, %s%s", a, want, unreadable(arch, ""))
		}
	}
	switch c.ModelType {
	case "bitnet", "llama", "mistral":
	case "":
		if len(arch) == 0 {
			return errors.New("neither model_type nor architectures names a model")
		}
		c.ModelType = families[arch[0]].modelType
	default:
		return fmt.Errorf("model_type %q is not supported, only bitnet, llama and mistral%s", c.ModelType, unreadable(nil, c.ModelType))
	}
	// The first published models call themselves llama but are BitNet.
	if slices.Contains(arch, "BitnetForCausalLM") {
		c.ModelType = "bitnet"
	}
	return nil
}

// setQuantization reads quantization_config; see transformers'
// quantizer_bitnet.py for the defaults.
func (c *hfConfig) setQuantization(f *fields, o options) error {
	var raw json.RawMessage
	var window int
	f.get("sliding_window", &window)
	if !f.get("quantization_config", &raw) {
		return c.setFloat(o, window)
	}
	if c.ModelType == "mistral" {
		return errors.New("model_type \"mistral\" with quantization_config is not supported, only bitnet and llama")
	}
	q, err := parseFields(raw)
	if err != nil {
		return fmt.Errorf("quantization_config: %w", err)
	}
	method, class, mode := "", "bitlinear", "offline"
	q.get("quant_method", &method)
	q.get("linear_class", &class)
	q.get("quantization_mode", &mode)
	normEps := 1e-6
	q.get("use_rms_norm", &c.ProjNorm)
	q.get("rms_norm_eps", &normEps)
	if method == ownMethod {
		q.get("act_bits", &c.ActBits)
		q.get("group_size", &c.Group)
	}
	var skip []string
	q.get("modules_to_not_convert", &skip)
	switch {
	case q.err != nil:
		return fmt.Errorf("quantization_config: %w", q.err)
	case method != "bitnet" && method != ownMethod:
		return fmt.Errorf("quantization_config: quant_method %q is not supported, only bitnet and %s", method, ownMethod)
	case c.ProjNorm && float32(normEps) != float32(c.NormEps):
		return fmt.Errorf("quantization_config: rms_norm_eps %v of the projections' norms is not the model's %v", normEps, c.NormEps)
	}
	for _, s := range skip {
		if s != "lm_head" {
			return fmt.Errorf("quantization_config: modules_to_not_convert names %q; only lm_head can be left unquantised", s)
		}
	}
	switch class + " " + mode {
	case "autobitlinear online":
		c.Form = Masters
	case "autobitlinear offline":
		c.Form = Ternary
	case "bitlinear offline":
		c.Form, c.divide = Ternary, true
	default:
		return fmt.Errorf("quantization_config: linear_class %q with quantization_mode %q is not supported", class, mode)
	}
	return nil
}

// ownMethod is the quant_method of models with group scales or 4-bit
// activations. transformers knows no such method and refuses them, where under
// "bitnet" it would compute something else without a word.
const ownMethod = "trit"

// encode returns config.json for the configuration as written by this package.
func (c *Config) encode() ([]byte, error) {
	m := make(map[string]any)
	for k, v := range c.Extra {
		m[k] = v
	}
	class := map[string]string{"bitnet": "BitNetForCausalLM", "llama": "LlamaForCausalLM"}[c.ModelType]
	m["architectures"] = []string{class}
	m["model_type"] = c.ModelType
	m["vocab_size"] = c.Vocab
	m["hidden_size"] = c.Hidden
	m["intermediate_size"] = c.FFN
	m["num_hidden_layers"] = c.Layers
	m["num_attention_heads"] = c.Heads
	m["num_key_value_heads"] = c.KVHeads
	m["head_dim"] = c.HeadDim
	if c.Context > 0 {
		m["max_position_embeddings"] = c.Context
	}
	m["hidden_act"] = c.Act
	m["rms_norm_eps"] = c.NormEps
	m["rope_theta"] = c.Theta
	m["tie_word_embeddings"] = c.Tied
	m["torch_dtype"] = map[graph.DType]string{graph.F32: "float32", graph.BF16: "bfloat16", graph.F16: "float16"}[c.Elem]
	setID := func(key string, id int) {
		if id >= 0 {
			m[key] = id
		}
	}
	setID("bos_token_id", c.BOS)
	setID("pad_token_id", c.Pad)
	switch len(c.EOS) {
	case 0:
	case 1:
		m["eos_token_id"] = c.EOS[0]
	default:
		m["eos_token_id"] = c.EOS
	}
	mode := "online"
	if c.Form == Ternary {
		mode = "offline"
	}
	if !c.Float {
		q := map[string]any{"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": mode}
		if c.ProjNorm {
			q["use_rms_norm"], q["rms_norm_eps"] = true, c.NormEps
		}
		if c.ownQuantizers() {
			q["quant_method"] = ownMethod
			q["act_bits"], q["group_size"] = cmp.Or(c.ActBits, 8), c.Group
		}
		m["quantization_config"] = q
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
