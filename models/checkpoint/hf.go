package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
)

// hfSource is a Hugging Face folder.
type hfSource struct {
	folder folder
	shards []shard
	where  map[string]int    // tensor name in the files -> shard
	alias  map[string]string // name of a Spec -> older name in the files
	kept   Form
	gammas map[string]float32
}

type shard struct {
	name string
	blob blob
	file *safetensors.File
}

// openHF opens the folder. only restricts it to one safetensors file, as when
// the user named that file; otherwise the index or the usual name decides.
func openHF(dir folder, only string, o options) (*Model, error) {
	text, err := dir.read("config.json")
	if err != nil {
		return nil, err
	}
	cfg, err := parseHFConfig(text, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir.path("config.json"), err)
	}
	src := &hfSource{folder: dir, where: make(map[string]int), kept: cfg.Form, gammas: make(map[string]float32)}
	if err := src.open(only); err != nil {
		src.close()
		return nil, err
	}
	if err := src.check(cfg); err != nil {
		src.close()
		return nil, fmt.Errorf("%s: %w", dir.path("."), err)
	}
	return newModel("safetensors", cfg.Config, src, cfg.warnings), nil
}

// open maps the shards and learns which tensor is where.
func (h *hfSource) open(only string) error {
	names, index, err := h.shardNames(only)
	if err != nil {
		return err
	}
	for i, name := range names {
		b, err := h.folder.open(name)
		if err != nil {
			return err
		}
		f, err := safetensors.Parse(b.data)
		if err != nil {
			b.close()
			return fmt.Errorf("%s: %w", h.folder.path(name), err)
		}
		h.shards = append(h.shards, shard{name, b, f})
		for _, t := range f.Tensors {
			if j, dup := h.where[t.Name]; dup {
				return fmt.Errorf("%s: tensor %q is also in %s", h.folder.path(name), t.Name, names[j])
			}
			h.where[t.Name] = i
		}
	}
	for tensor, file := range index {
		if i, ok := h.where[tensor]; !ok || names[i] != file {
			return fmt.Errorf("%s: the index says that %s holds tensor %q; it does not", h.folder.path(indexName), file, tensor)
		}
	}
	return nil
}

// weightsStem is the name of the weights' files without what makes it a shard's.
const weightsStem = "model"

var weightsName, indexName = safetensors.ShardName(weightsStem, 0, 1), safetensors.IndexName(weightsStem)

// shardNames lists the files to open, and the index's map if there is one.
func (h *hfSource) shardNames(only string) ([]string, map[string]string, error) {
	if only != "" {
		return []string{only}, nil, nil
	}
	found, err := h.folder.names(".safetensors")
	if err != nil {
		return nil, nil, err
	}
	if slices.Contains(found, weightsName) {
		return []string{weightsName}, nil, nil
	}
	text, err := h.folder.read(indexName)
	if errors.Is(err, fs.ErrNotExist) {
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("%s: no .safetensors file; PyTorch pickles (.bin, .pt) must be converted to safetensors first", h.folder.path("."))
		}
		return found, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	index, err := safetensors.ParseIndex(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", h.folder.path(indexName), err)
	}
	return index.Files(), index.WeightMap, nil
}

// olderNames are those of the first published models (1bitLLM).
var olderNames = map[string]string{
	"self_attn.attn_sub_norm.weight": "self_attn.inner_attn_ln.weight",
	"mlp.ffn_sub_norm.weight":        "mlp.ffn_layernorm.weight",
}

// check completes the configuration from the tensors present and demands that
// every tensor of the model is there with a type and shape that fit.
func (h *hfSource) check(c *hfConfig) error {
	h.alias = make(map[string]string)
	for name := range h.where {
		for now, old := range olderNames {
			if strings.HasSuffix(name, "."+now) {
				c.SubNorm = true
			}
			if prefix, ok := strings.CutSuffix(name, "."+old); ok {
				c.SubNorm = true
				h.alias[prefix+"."+now] = name
			}
		}
	}
	if c.ModelType == "bitnet" {
		c.SubNorm = true
	}
	if err := h.checkHead(c); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	var errs []error
	known := make(map[string]bool)
	for _, s := range c.Specs() {
		known[h.stem(s)] = true
		if err := h.checkTensor(s, c); err != nil {
			errs = append(errs, fmt.Errorf("tensor %s: %w", h.stem(s), err))
		}
		if s.Linear && c.Form == Ternary {
			known[h.stem(s)+"_scale"] = true
		}
		if len(errs) == 8 {
			errs = append(errs, errors.New("and perhaps more"))
			break
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	extra := 0
	for name := range h.where {
		if !known[name] && !strings.HasSuffix(name, "rotary_emb.inv_freq") && name != "lm_head.weight" {
			extra++
			if strings.HasSuffix(name, ".bias") {
				return fmt.Errorf("tensor %s: biases are not supported", name)
			}
		}
	}
	if extra > 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("%d tensors of the file are not part of the model and ignored", extra))
	}
	return nil
}

// checkHead settles whether the head is the embedding. transformers' default
// for an absent key is false, but the published weights mean true.
func (h *hfSource) checkHead(c *hfConfig) error {
	_, head := h.where["lm_head.weight"]
	switch {
	case c.tied == nil && !head:
		c.Tied = true
		c.warnings = append(c.warnings, "config.json lacks tie_word_embeddings and the file lm_head.weight; the head is taken to be the embedding")
	case c.tied != nil && !c.Tied && !head:
		return errors.New("tie_word_embeddings is false, but there is no lm_head.weight")
	case c.Tied && head:
		c.warnings = append(c.warnings, "tie_word_embeddings is true; lm_head.weight in the file is ignored")
	}
	return nil
}

func (h *hfSource) checkTensor(s Spec, c *hfConfig) error {
	info, err := h.info(h.stem(s))
	if err != nil {
		return err
	}
	if !s.Linear || c.Form == Masters {
		if !info.Elem.IsFloat() {
			return fmt.Errorf("is %s, want a float type; does quantization_mode in config.json fit the file?", info.DType)
		}
		return wantDims(info.Dims, s.Dims)
	}
	if s.Dims[0]%4 != 0 {
		return fmt.Errorf("%d rows cannot be packed in fours", s.Dims[0])
	}
	if info.Elem != graph.U8 {
		return fmt.Errorf("is %s, want U8 (packed codes); does quantization_mode in config.json fit the file?", info.DType)
	}
	if err := wantDims(info.Dims, []int{s.Dims[0] / 4, s.Dims[1]}); err != nil {
		return err
	}
	gamma, err := h.scale(h.stem(s)+"_scale", c.divide)
	if err != nil {
		return err
	}
	h.gammas[s.Name] = gamma
	return nil
}

func wantDims(got, want []int) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("has shape %v, config.json implies %v", got, want)
	}
	return nil
}

// scale reads a weight_scale of one element. It multiplies the product
// (autobitlinear) or divides it (bitlinear).
func (h *hfSource) scale(name string, divide bool) (float32, error) {
	t, err := h.tensor(name)
	if err != nil {
		return 0, err
	}
	if !t.Elem.IsFloat() || t.Len() != 1 {
		return 0, fmt.Errorf("%s is %v%v, want one float", name, t.Elem, t.Dims)
	}
	v := float32(t.FloatAt(0))
	if divide {
		v = 1 / v
	}
	if !(v > 0 && v <= math.MaxFloat32) {
		return 0, fmt.Errorf("%s is %v, want a positive finite number", name, t.FloatAt(0))
	}
	return v, nil
}

// stem is the name under which the files hold the tensor.
func (h *hfSource) stem(s Spec) string {
	if old, ok := h.alias[s.Name]; ok {
		return old
	}
	return s.Name
}

func (h *hfSource) info(name string) (safetensors.Info, error) {
	i, ok := h.where[name]
	if !ok {
		return safetensors.Info{}, fmt.Errorf("%s is missing from the file", name)
	}
	info, _ := h.shards[i].file.Info(name)
	return info, nil
}

func (h *hfSource) tensor(name string) (graph.Tensor, error) {
	i, ok := h.where[name]
	if !ok {
		return graph.Tensor{}, fmt.Errorf("%s is missing from the file", name)
	}
	return h.shards[i].file.Tensor(name)
}

func (h *hfSource) float(s Spec) (graph.Tensor, error) { return h.tensor(h.stem(s)) }

func (h *hfSource) form(Spec) Form { return h.kept }

func (h *hfSource) unpack(s Spec, codes []int8) (float32, error) {
	t, err := h.tensor(h.stem(s))
	if err != nil {
		return 0, err
	}
	return h.gammas[s.Name], unpackHF(codes, t.Data, s.Dims[0], s.Dims[1])
}

func (h *hfSource) forget(s Spec) {
	if i, ok := h.where[h.stem(s)]; ok {
		if raw, err := h.shards[i].file.Bytes(h.stem(s)); err == nil {
			h.shards[i].blob.forget(raw)
		}
	}
}

func (h *hfSource) stored() []Stored {
	var out []Stored
	for _, sh := range h.shards {
		for _, t := range sh.file.Tensors {
			out = append(out, Stored{t.Name, t.DType, slices.Clone(t.Dims), t.Size, sh.name})
		}
	}
	return out
}

func (h *hfSource) file(name string) ([]byte, error) {
	if name != path.Base(name) {
		return nil, fmt.Errorf("%q is not a plain file name", name)
	}
	return h.folder.read(name)
}

func (h *hfSource) close() error {
	var errs []error
	for _, s := range h.shards {
		errs = append(errs, s.blob.close())
	}
	return errors.Join(errs...)
}
