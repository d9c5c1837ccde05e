package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/gguf"
	"github.com/trit-ml/trit/internal/safetensors"
)

// hfFolder is a Hugging Face folder in memory, to be damaged.
type hfFolder struct {
	config  map[string]any
	tensors map[string]graph.Tensor
}

func loadHF(t *testing.T, dir string) *hfFolder {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &hfFolder{tensors: make(map[string]graph.Tensor)}
	if err := json.Unmarshal(text, &f.config); err != nil {
		t.Fatal(err)
	}
	st, err := safetensors.Open(filepath.Join(dir, weightsName))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, info := range st.Tensors {
		x, err := st.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		f.tensors[info.Name] = x.Clone()
	}
	return f
}

// quant edits quantization_config.
func (f *hfFolder) quant(key string, v any) {
	f.config["quantization_config"].(map[string]any)[key] = v
}

func (f *hfFolder) fs(t *testing.T) fstest.MapFS {
	t.Helper()
	text, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for name, x := range f.tensors {
		entries = append(entries, safetensors.EntryOf(name, x))
	}
	var buf bytes.Buffer
	if err := safetensors.Write(&buf, entries, nil); err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"config.json": {Data: text}, weightsName: {Data: buf.Bytes()}}
}

const upProj = "model.layers.1.mlp.up_proj.weight"

func TestHFRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		form, want string
		damage     func(*hfFolder)
	}{
		"model type":   {"online", `model_type "mamba"`, func(f *hfFolder) { f.config["model_type"] = "mamba" }},
		"architecture": {"online", "architecture GPT2LMHeadModel", func(f *hfFolder) { f.config["architectures"] = []string{"GPT2LMHeadModel"} }},
		"plain llama": {"online", "no ternary weights", func(f *hfFolder) {
			f.config = without(f.config, "quantization_config")
			f.config["model_type"] = "llama"
		}},
		"bias":                           {"online", "biases", func(f *hfFolder) { f.config["attention_bias"] = true }},
		"bias tensor":                    {"online", "biases", func(f *hfFolder) { f.tensors["model.layers.0.mlp.up_proj.bias"] = graph.NewTensor(graph.F32, 3) }},
		"activation":                     {"online", `hidden_act "gelu"`, func(f *hfFolder) { f.config["hidden_act"] = "gelu" }},
		"rope scaling":                   {"online", `"yarn"`, func(f *hfFolder) { f.config["rope_scaling"] = map[string]any{"rope_type": "yarn"} }},
		"rope parameters":                {"online", `"llama3"`, func(f *hfFolder) { f.config["rope_parameters"] = map[string]any{"rope_type": "llama3"} }},
		"quant method":                   {"online", `"gptq"`, func(f *hfFolder) { f.quant("quant_method", "gptq") }},
		"inner norms that are not there": {"online", "q_proj.rms_norm.weight", func(f *hfFolder) { f.quant("use_rms_norm", true) }},
		"groups of codes": {"offline", "holds one scale for a matrix", func(f *hfFolder) {
			f.quant("quant_method", "trit")
			f.quant("group_size", 16)
		}},
		"groups that do not fit": {"online", "cannot be cut into groups of 7", func(f *hfFolder) {
			f.quant("quant_method", "trit")
			f.quant("group_size", 7)
		}},
		"bits": {"online", "act_bits is 5", func(f *hfFolder) {
			f.quant("quant_method", "trit")
			f.quant("act_bits", 5)
		}},
		"inner norms": {"online", "rms_norm_eps", func(f *hfFolder) {
			f.quant("use_rms_norm", true)
			f.quant("rms_norm_eps", 1e-5)
		}},
		"left out":         {"online", "down_proj", func(f *hfFolder) { f.quant("modules_to_not_convert", []string{"lm_head", "down_proj"}) }},
		"class and mode":   {"online", `"bitlinear" with quantization_mode "online"`, func(f *hfFolder) { f.quant("linear_class", "bitlinear") }},
		"dtype":            {"online", `"float8"`, func(f *hfFolder) { f.config["torch_dtype"] = "float8" }},
		"wrong JSON type":  {"online", "vocab_size", func(f *hfFolder) { f.config["vocab_size"] = "many" }},
		"no layers":        {"online", "num_hidden_layers is 0", func(f *hfFolder) { f.config["num_hidden_layers"] = 0 }},
		"huge layers":      {"online", "num_hidden_layers", func(f *hfFolder) { f.config["num_hidden_layers"] = 1 << 40 }},
		"huge vocabulary":  {"online", "vocab_size", func(f *hfFolder) { f.config["vocab_size"] = 1 << 40 }},
		"negative":         {"online", "intermediate_size", func(f *hfFolder) { f.config["intermediate_size"] = -5 }},
		"more layers":      {"online", "missing", func(f *hfFolder) { f.config["num_hidden_layers"] = 9 }},
		"heads":            {"online", "multiple", func(f *hfFolder) { f.config["num_attention_heads"] = 5 }},
		"groups":           {"online", "multiple", func(f *hfFolder) { f.config["num_key_value_heads"] = 3 }},
		"epsilon":          {"online", "rms_norm_eps", func(f *hfFolder) { f.config["rms_norm_eps"] = 0 }},
		"theta":            {"online", "rope_theta", func(f *hfFolder) { f.config["rope_theta"] = -1 }},
		"shape":            {"online", "has shape", func(f *hfFolder) { f.config["intermediate_size"] = 340 }},
		"head missing":     {"online", "no lm_head", func(f *hfFolder) { delete(f.tensors, "lm_head.weight") }},
		"tensor missing":   {"online", upProj + " is missing", func(f *hfFolder) { delete(f.tensors, upProj) }},
		"norm missing":     {"online", "norm.weight is missing", func(f *hfFolder) { delete(f.tensors, "model.norm.weight") }},
		"integer master":   {"online", "want a float", func(f *hfFolder) { f.tensors[upProj] = graph.NewTensor(graph.I8, 344, 128) }},
		"offline as float": {"online", "want U8", func(f *hfFolder) { f.quant("quantization_mode", "offline") }},
		"online as packed": {"offline", "want a float", func(f *hfFolder) { f.quant("quantization_mode", "online") }},
		"packed shape":     {"offline", "has shape", func(f *hfFolder) { f.tensors[upProj] = graph.NewTensor(graph.U8, 344, 128) }},
		"scale missing":    {"offline", "_scale is missing", func(f *hfFolder) { delete(f.tensors, upProj+"_scale") }},
		"scale NaN":        {"offline", "positive finite", func(f *hfFolder) { f.tensors[upProj+"_scale"].F32()[0] = float32(math.NaN()) }},
		"scale infinite":   {"offline", "positive finite", func(f *hfFolder) { f.tensors[upProj+"_scale"].F32()[0] = float32(math.Inf(1)) }},
		"scale zero":       {"offline_bitlinear_divide", "positive finite", func(f *hfFolder) { f.tensors[upProj+"_scale"].F32()[0] = 0 }},
		"scale negative":   {"offline", "positive finite", func(f *hfFolder) { f.tensors[upProj+"_scale"].F32()[0] = -1 }},
		"scale per row":    {"offline", "want one float", func(f *hfFolder) { f.tensors[upProj+"_scale"] = graph.NewTensor(graph.F32, 344) }},
	} {
		f := loadHF(t, golden3(t, c.form))
		if _, err := OpenFS(f.fs(t)); err != nil {
			t.Fatalf("the intact folder fails: %v", err)
		}
		c.damage(f)
		m, err := OpenFS(f.fs(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
		if err == nil {
			m.Close()
		}
	}
}

func without(m map[string]any, key string) map[string]any {
	m = maps.Clone(m)
	delete(m, key)
	return m
}

func TestBadWeightsFailOnUse(t *testing.T) {
	for _, c := range []struct {
		form, want string
		damage     func(graph.Tensor)
	}{
		{"offline", "value 3", func(x graph.Tensor) { x.Data[77] = 0x30 }},
		{"online", "not finite", func(x graph.Tensor) { x.F32()[5] = float32(math.NaN()) }},
		{"online", "not finite", func(x graph.Tensor) { x.F32()[5] = float32(math.Inf(-1)) }},
	} {
		f := loadHF(t, golden3(t, c.form))
		c.damage(f.tensors[upProj])
		m, err := OpenFS(f.fs(t))
		if err != nil {
			t.Fatal(err)
		}
		l, err := m.Linear(upProj)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.Ternary(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), upProj) {
			t.Errorf("%s: got %v, want an error with %q", c.form, err, c.want)
		}
	}
}

// Variants of the published layout that must be read.
func TestHFVariants(t *testing.T) {
	for name, c := range map[string]struct {
		warnings int
		change   func(*hfFolder)
		check    func(*Model) bool
	}{
		"transformers 5 keys": {0, func(f *hfFolder) {
			f.config = without(without(f.config, "rope_theta"), "torch_dtype")
			f.config["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 777.0}
			f.config["dtype"] = "bfloat16"
		}, func(m *Model) bool { return m.Config().Theta == 777 && m.Config().Elem == graph.BF16 }},
		"two ends": {0, func(f *hfFolder) { f.config["eos_token_id"] = []int{3, 4} },
			func(m *Model) bool { return slices.Equal(m.Config().EOS, []int{3, 4}) }},
		"nulls": {0, func(f *hfFolder) { f.config["pad_token_id"], f.config["rope_scaling"] = nil, nil },
			func(m *Model) bool { return m.Config().Pad == -1 }},
		"tied by default": {1, func(f *hfFolder) {
			f.config = without(f.config, "tie_word_embeddings")
			delete(f.tensors, "lm_head.weight")
		}, func(m *Model) bool { return m.Config().Tied }},
		"untied by default": {0, func(f *hfFolder) { f.config = without(f.config, "tie_word_embeddings") },
			func(m *Model) bool { return !m.Config().Tied }},
		"head ignored": {1, func(f *hfFolder) { f.config["tie_word_embeddings"] = true },
			func(m *Model) bool { _, err := m.Tensor("lm_head.weight"); return m.Config().Tied && err != nil }},
		"older names": {0, func(f *hfFolder) {
			f.config["model_type"], f.config["architectures"] = "llama", []string{"BitnetForCausalLM"}
			for name, x := range maps.Clone(f.tensors) {
				for now, old := range olderNames {
					if prefix, ok := strings.CutSuffix(name, now); ok {
						delete(f.tensors, name)
						f.tensors[prefix+old] = x
					}
				}
			}
		}, func(m *Model) bool {
			_, err := m.Tensor("model.layers.2.mlp.ffn_sub_norm.weight")
			return err == nil && m.Config().ModelType == "bitnet"
		}},
		"llama without sub norms": {0, func(f *hfFolder) {
			f.config["model_type"], f.config["architectures"] = "llama", []string{"LlamaForCausalLM"}
			f.config["hidden_act"] = "silu"
			maps.DeleteFunc(f.tensors, func(n string, _ graph.Tensor) bool { return strings.Contains(n, "sub_norm") })
		}, func(m *Model) bool { return !m.Config().SubNorm && m.Config().Act == SiLU }},
		"stray tensors": {1, func(f *hfFolder) {
			f.tensors["stray"] = graph.NewTensor(graph.F32, 1)
			f.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = graph.NewTensor(graph.F32, 1)
		}, func(*Model) bool { return true }},
		"no quantization_config": {1, func(f *hfFolder) { f.config = without(f.config, "quantization_config") },
			func(m *Model) bool { return m.Config().Form == Masters }},
	} {
		f := loadHF(t, golden3(t, "online"))
		c.change(f)
		m, err := OpenFS(f.fs(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(m.Warnings()) != c.warnings || !c.check(m) {
			t.Errorf("%s: configuration %+v, warnings %q", name, m.Config(), m.Warnings())
		}
		for _, s := range m.Specs() {
			if x, err := m.Tensor(s.Name); err != nil || !slices.Equal(x.Dims, s.Dims) {
				t.Errorf("%s: %s: %v", name, s.Name, err)
			}
		}
	}
}

func TestShards(t *testing.T) {
	f := loadHF(t, golden3(t, "offline"))
	whole := f.fs(t)
	index := map[string]string{}
	halves := [2][]safetensors.Entry{}
	names := [2]string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
	for i, name := range slices.Sorted(maps.Keys(f.tensors)) {
		halves[i%2] = append(halves[i%2], safetensors.EntryOf(name, f.tensors[name]))
		index[name] = names[i%2]
	}
	build := func(edit func(index map[string]string, fsys fstest.MapFS)) fstest.MapFS {
		fsys := fstest.MapFS{"config.json": whole["config.json"]}
		for i, half := range halves {
			var buf bytes.Buffer
			if err := safetensors.Write(&buf, half, nil); err != nil {
				t.Fatal(err)
			}
			fsys[names[i]] = &fstest.MapFile{Data: buf.Bytes()}
		}
		index := maps.Clone(index)
		if edit != nil {
			edit(index, fsys)
		}
		text, _ := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": index})
		if index != nil && fsys[indexName] == nil {
			fsys[indexName] = &fstest.MapFile{Data: text}
		}
		return fsys
	}
	want, err := OpenFS(whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenFS(build(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(context.Background(), want, got); err != nil {
		t.Error(err)
	}
	if n := len(got.Stored()); n != len(f.tensors) {
		t.Errorf("%d stored tensors, want %d", n, len(f.tensors))
	}
	for name, c := range map[string]struct {
		want string
		edit func(index map[string]string, fsys fstest.MapFS)
	}{
		"outside":       {"not the name of", func(ix map[string]string, _ fstest.MapFS) { ix["model.norm.weight"] = "../x.safetensors" }},
		"absolute":      {"not the name of", func(ix map[string]string, _ fstest.MapFS) { ix["model.norm.weight"] = "/x.safetensors" }},
		"parent":        {"not the name of", func(ix map[string]string, _ fstest.MapFS) { ix["model.norm.weight"] = ".." }},
		"other kind":    {"not the name of", func(ix map[string]string, _ fstest.MapFS) { ix["model.norm.weight"] = "config.json" }},
		"shard missing": {"not exist", func(_ map[string]string, fsys fstest.MapFS) { delete(fsys, names[1]) }},
		"wrong shard": {"does not", func(ix map[string]string, _ fstest.MapFS) {
			ix["model.norm.weight"] = other(ix["model.norm.weight"], names)
		}},
		"unknown": {"does not", func(ix map[string]string, _ fstest.MapFS) { ix["ghost"] = names[0] }},
		"same twice": {"is also in", func(_ map[string]string, fsys fstest.MapFS) {
			fsys[names[1]] = fsys[names[0]]
		}},
		"not JSON": {indexName, func(_ map[string]string, fsys fstest.MapFS) { fsys[indexName] = &fstest.MapFile{Data: []byte("{")} }},
		"empty":    {"empty", func(ix map[string]string, _ fstest.MapFS) { clear(ix) }},
	} {
		if _, err := OpenFS(build(c.edit)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func other(name string, names [2]string) string {
	if name == names[0] {
		return names[1]
	}
	return names[0]
}

func TestFilesThatAreNoCheckpoint(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want string }{
		"model.pt":          {"PK\x03\x04aaaaaaaaaaaaaaaa", "pickle"},
		"model.bin":         {"\x80\x02aaaaaaaaaaaaaaaaaaa", "pickle"},
		"ggml.bin":          {"lmggaaaaaaaaaaaaaaaaaaa", "before GGUF"},
		"config.json":       {`{"model_type": "bitnet"}`, "open the folder"},
		"x.txt":             {"hello", "neither"},
		"empty":             {"", "neither"},
		"x.gguf":            {"GGUF", "needs 4 bytes"},
		"model.safetensors": {"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "vocab_size"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "model.safetensors" {
			// Needs the config.json beside it.
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type": "bitnet"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent")); !os.IsNotExist(err) {
		t.Errorf("absent: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "neither") {
		t.Errorf("empty folder: %v", err)
	}
}

// ggufParts is a GGUF file taken apart, to be damaged.
type ggufParts struct {
	kv      []gguf.KV
	entries []gguf.Entry
}

func (p *ggufParts) set(key string, v gguf.Value) {
	p.unset(key)
	p.kv = append(p.kv, gguf.KV{Key: key, Value: v})
}

func (p *ggufParts) unset(key string) {
	p.kv = slices.DeleteFunc(p.kv, func(e gguf.KV) bool { return e.Key == key })
}

func (p *ggufParts) tensor(name string) *gguf.Entry {
	i := slices.IndexFunc(p.entries, func(e gguf.Entry) bool { return e.Name == name })
	return &p.entries[i]
}

// put replaces or adds a tensor.
func (p *ggufParts) put(name string, typ gguf.Type, data []byte, dims ...int) {
	p.entries = slices.DeleteFunc(p.entries, func(e gguf.Entry) bool { return e.Name == name })
	p.entries = append(p.entries, gguf.Entry{Name: name, Type: typ, Dims: dims, Load: func() ([]byte, error) { return data, nil }})
}

func takeApart(t *testing.T, m *Model, o GGUFOptions) *ggufParts {
	t.Helper()
	w, err := newGGUFWriter(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return &ggufParts{w.kv, w.entries}
}

func (p *ggufParts) open(t *testing.T) (*Model, error) {
	t.Helper()
	var buf bytes.Buffer
	if err := gguf.Write(&buf, p.kv, p.entries); err != nil {
		t.Fatal(err)
	}
	return OpenFS(fstest.MapFS{"m.gguf": {Data: buf.Bytes()}})
}

const arch = "bitnet-b1.58."

func TestGGUFRefusals(t *testing.T) {
	src := open(t, filepath.Join(published(t)[3], "offline"))
	ones := func(n int) []byte { return bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, n) }
	for name, c := range map[string]struct {
		want   string
		damage func(*ggufParts)
	}{
		"architecture":      {`architecture "llama"`, func(p *ggufParts) { p.set("general.architecture", gguf.Text("llama")) }},
		"no architecture":   {"is missing", func(p *ggufParts) { p.unset("general.architecture") }},
		"key missing":       {arch + "block_count is missing", func(p *ggufParts) { p.unset(arch + "block_count") }},
		"key type":          {"want a non-negative integer", func(p *ggufParts) { p.set(arch+"block_count", gguf.Text("two")) }},
		"heads per layer":   {"want a non-negative integer", func(p *ggufParts) { p.set(arch+"attention.head_count", gguf.Int32s([]int32{4, 4})) }},
		"float as string":   {"want a number", func(p *ggufParts) { p.set(arch+"rope.freq_base", gguf.Text("x")) }},
		"rope scaling":      {"rotary scaling", func(p *ggufParts) { p.set(arch+"rope.scaling.type", gguf.Text("yarn")) }},
		"partial rope":      {"partial rotation", func(p *ggufParts) { p.set(arch+"rope.dimension_count", gguf.Uint32(32)) }},
		"rope frequencies":  {"rotary frequencies", func(p *ggufParts) { p.put("rope_freqs.weight", gguf.F32, append(ones(31), 0, 0, 0, 0x40), 32) }},
		"bias":              {"biases", func(p *ggufParts) { p.put("blk.0.attn_q.bias", gguf.F32, ones(4), 4) }},
		"tensor missing":    {"output_norm.weight is missing", func(p *ggufParts) { p.put("x", gguf.F32, ones(1), 1); p.tensor("output_norm.weight").Name = "y" }},
		"shape":             {"has shape", func(p *ggufParts) { p.put("blk.0.attn_norm.weight", gguf.F32, ones(8), 8) }},
		"unsupported type":  {"is Q4_K, which is not supported", func(p *ggufParts) { p.put("x", 12, make([]byte, 144), 256) }},
		"embedding as I2_S": {"must be float", func(p *ggufParts) { p.put("token_embd.weight", gguf.I2_S, make([]byte, 384*256/4+32), 384, 256) }},
		"scale NaN":         {"I2_S scale is NaN", func(p *ggufParts) { nanScale(p.tensor("blk.1.ffn_up.weight")) }},
		"scores":            {"one f32 per token", func(p *ggufParts) { p.vocab(); p.set("tokenizer.ggml.scores", gguf.Float32s(make([]float32, 2))) }},
		"token types":       {"one integer per token", func(p *ggufParts) { p.vocab(); p.set("tokenizer.ggml.token_type", gguf.Texts([]string{"x"})) }},
		"tokens":            {"array of strings", func(p *ggufParts) { p.vocab(); p.set("tokenizer.ggml.tokens", gguf.Int32s(nil)) }},
		"order key":         {"unknown order", func(p *ggufParts) { p.set(orderKey, gguf.Text("mips")) }},
		"floats and codes": {"in one form", func(p *ggufParts) {
			data := make([]byte, 4*512*256)
			for i := range data {
				data[i] = byte(i % 61)
			}
			p.put("blk.0.ffn_up.weight", gguf.F32, data, 512, 256)
		}},
		"not ternary Q8_0": {"is Q8_0, and its values are not ternary", func(p *ggufParts) {
			data := make([]byte, 512*256/32*34)
			for i := range data {
				data[i] = byte(i % 61)
			}
			p.put("blk.0.ffn_up.weight", gguf.Q8_0, data, 512, 256)
		}},
	} {
		p := takeApart(t, src, GGUFOptions{})
		if _, err := p.open(t); err != nil {
			t.Fatalf("the intact file fails: %v", err)
		}
		c.damage(p)
		if _, err := p.open(t); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func (p *ggufParts) vocab() {
	p.set("tokenizer.ggml.model", gguf.Text("gpt2"))
	p.set("tokenizer.ggml.tokens", gguf.Texts([]string{"a"}))
}

func nanScale(e *gguf.Entry) {
	load := e.Load
	e.Load = func() ([]byte, error) {
		b, err := load()
		b = bytes.Clone(b)
		copy(b[len(b)-32:], []byte{0, 0, 0xc0, 0x7f})
		return b, err
	}
}

// The types that only programs with other kernels can read name the way out.
func TestTableTypesAreRefusedWithAWayOut(t *testing.T) {
	src := open(t, filepath.Join(published(t)[3], "offline"))
	var buf bytes.Buffer
	p := takeApart(t, src, GGUFOptions{})
	if err := gguf.Write(&buf, p.kv, p.entries); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[byte][]string{
		38: {"TL1", "tile sizes are not in the file", "i2_s"}, 39: {"TL2", "i2_s"}, 135: {"IQ2_BN", "ik_llama.cpp", "i2_s"},
	} {
		data := bytes.Clone(buf.Bytes())
		at := bytes.Index(data, []byte("blk.1.ffn_up.weight")) + len("blk.1.ffn_up.weight") + 4 + 16
		if data[at] != byte(gguf.I2_S) {
			t.Fatalf("type number %d at %d", data[at], at)
		}
		data[at] = id
		_, err := OpenFS(fstest.MapFS{"m.gguf": {Data: data}})
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("type %d: got %v, want %q in it", id, err, w)
			}
		}
	}
}

// Other types that real files have: a quantised embedding and head, Q8_0 over
// ternary values, masters.
func TestGGUFVariants(t *testing.T) {
	src := open(t, filepath.Join(published(t)[3], "online"))
	p := takeApart(t, src, GGUFOptions{Type: "f32"})
	up := "model.layers.0.mlp.up_proj.weight"
	codes, gamma := ternaryOf(t, src, up)
	vals := make([]float32, codes.Len())
	for i, c := range codes.I8() {
		vals[i] = gamma * float32(c)
	}
	q8 := make([]byte, len(vals)/32*34)
	if err := gguf.Encode(gguf.Q8_0, q8, vals); err != nil {
		t.Fatal(err)
	}
	p.put("blk.0.ffn_up.weight", gguf.Q8_0, q8, 512, 256)
	q6 := make([]byte, 384*210)
	p.put("token_embd.weight", gguf.Q6_K, q6, 384, 256)
	q4 := make([]byte, 384*8*18)
	p.put("output.weight", gguf.Q4_0, q4, 384, 256)
	p.put("rope_freqs.weight", gguf.F32, bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, 32), 32)
	m, err := p.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Config(); c.Form != Ternary || c.Tied || c.Elem != graph.F32 || len(m.Warnings()) > 0 {
		t.Errorf("%+v, %v", c, m.Warnings())
	}
	got, g := ternaryOf(t, m, up)
	if !slices.Equal(got.I8(), codes.I8()) || math.Abs(float64(g/gamma-1)) > 1e-3 {
		t.Errorf("Q8_0 projection: scale %v, want %v", g, gamma)
	}
	for _, name := range []string{"model.embed_tokens.weight", "lm_head.weight"} {
		if x, err := m.Tensor(name); err != nil || x.Elem != graph.F32 || !slices.Equal(x.Dims, []int{384, 256}) {
			t.Errorf("%s: %v%v, %v", name, x.Elem, x.Dims, err)
		}
	}

	// A value deep inside that breaks the pattern is found when it is read.
	vals[len(vals)-1] = gamma / 2
	raw := make([]byte, 4*len(vals))
	if err := gguf.Encode(gguf.F32, raw, vals); err != nil {
		t.Fatal(err)
	}
	p.put("blk.0.ffn_up.weight", gguf.F32, raw, 512, 256)
	if m, err = p.open(t); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Tensor(up); err == nil || !strings.Contains(err.Error(), "magnitude") {
		t.Errorf("not ternary: %v", err)
	}

	// Masters in every projection are masters.
	p = takeApart(t, src, GGUFOptions{Type: "f32"})
	for _, s := range src.Specs() {
		if s.Linear {
			x, err := src.Tensor(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			p.put(ggufName(s.Name), gguf.BF16, x.Data, s.Dims...)
		}
	}
	if m, err = p.open(t); err != nil {
		t.Fatal(err)
	}
	if m.Config().Form != Masters || len(m.Warnings()) != 1 {
		t.Errorf("%v, %v", m.Config().Form, m.Warnings())
	}
	if err := Verify(context.Background(), src, m); err != nil {
		t.Error(err)
	}
}

// Damaged files give an error or a model, never a panic, and cost memory in
// proportion to their size.
func TestDamagedFiles(t *testing.T) {
	src := open(t, golden3(t, "offline"))
	var buf bytes.Buffer
	p := takeApart(t, src, GGUFOptions{Vocab: &Vocab{Model: "gpt2", Tokens: []string{"a", "b"}, Merges: []string{"a b"}}})
	if err := gguf.Write(&buf, p.kv, p.entries); err != nil {
		t.Fatal(err)
	}
	hf := loadHF(t, golden3(t, "offline")).fs(t)
	rng := rand.New(rand.NewPCG(9, 10))
	for _, c := range []struct {
		name, file string
		fs         fstest.MapFS
		head       int // bytes in which damage matters most
	}{
		{"gguf", "m.gguf", fstest.MapFS{"m.gguf": {Data: buf.Bytes()}}, 6000},
		{"safetensors", weightsName, hf, 7768},
		{"config", "config.json", hf, len(hf["config.json"].Data)},
	} {
		whole := c.fs[c.file].Data
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const rounds = 400
		failed := 0
		for i := range rounds {
			data := bytes.Clone(whole)
			if i%4 == 0 {
				data = data[:rng.IntN(len(data))]
			} else {
				for range 1 + rng.IntN(3) {
					data[rng.IntN(min(c.head, len(data)))] ^= 1 << rng.IntN(8)
				}
			}
			fsys := maps.Clone(c.fs)
			fsys[c.file] = &fstest.MapFile{Data: data}
			m, err := OpenFS(fsys)
			if err != nil {
				failed++
				continue
			}
			m.Close()
		}
		runtime.ReadMemStats(&after)
		size := 0
		for _, f := range c.fs {
			size += len(f.Data)
		}
		if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > uint64(4*size) {
			t.Errorf("%s: %d bytes allocated for a file of %d", c.name, each, size)
		}
		if failed < rounds/4 {
			t.Errorf("%s: only %d of %d damaged files were refused", c.name, failed, rounds)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"architectures":["BitNetForCausalLM"],"model_type":"bitnet","vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"hidden_act":"relu2","quantization_config":{"quant_method":"bitnet","linear_class":"autobitlinear","quantization_mode":"offline"}}`))
	f.Add([]byte(`{"model_type":"bitnet","vocab_size":1e9,"eos_token_id":[1,2],"rope_parameters":{"rope_theta":1}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"hidden_size":9223372036854775807,"num_attention_heads":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseHFConfig(text, options{})
		if err != nil {
			return
		}
		out, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseHFConfig(out, options{})
		if err != nil {
			t.Fatalf("%v in what was written for %s: %s", err, text, out)
		}
		if c.Hidden != again.Hidden || c.Theta != again.Theta || c.HeadDim != again.HeadDim || c.Form != again.Form {
			t.Fatalf("%+v became %+v", c.Config, again.Config)
		}
	})
}
