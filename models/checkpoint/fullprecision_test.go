package checkpoint

import (
	"maps"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
)

// plainLlama is a model without quantization and without the norms of BitNet.
func plainLlama(t *testing.T) *hfFolder {
	f := loadHF(t, golden3(t, "online"))
	f.config = without(f.config, "quantization_config")
	f.config["model_type"], f.config["architectures"], f.config["hidden_act"] = "llama", []string{"LlamaForCausalLM"}, "silu"
	maps.DeleteFunc(f.tensors, func(n string, _ graph.Tensor) bool { return strings.Contains(n, "sub_norm") })
	return f
}

func TestFullPrecision(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*hfFolder)
		check  func(Config) bool
	}{
		"llama": {func(*hfFolder) {}, func(c Config) bool { return c.ModelType == "llama" && !c.SubNorm && c.Act == SiLU }},
		"defaults of llama": {func(f *hfFolder) {
			f.config = without(without(without(f.config, "hidden_act"), "rms_norm_eps"), "rope_theta")
		}, func(c Config) bool { return c.Act == SiLU && c.NormEps == 1e-6 && c.Theta == 10000 }},
		"mistral": {func(f *hfFolder) {
			f.config["model_type"], f.config["architectures"], f.config["sliding_window"] = "mistral", []string{"MistralForCausalLM"}, nil
		}, func(c Config) bool { return c.ModelType == "llama" }},
		"twin of a bitnet": {func(f *hfFolder) {
			*f = *loadHF(t, golden3(t, "online"))
			f.config = without(f.config, "quantization_config")
		}, func(c Config) bool { return c.ModelType == "bitnet" && c.SubNorm }},
	} {
		f := plainLlama(t)
		c.change(f)
		fsys := f.fs(t)
		m, err := OpenFS(fsys, FullPrecision())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if cfg := m.Config(); !cfg.Float || !c.check(cfg) || len(m.Warnings()) > 0 {
			t.Errorf("%s: %+v, warnings %q", name, cfg, m.Warnings())
		}
		// Written again it is a model without quantization again.
		dir := t.TempDir() + "/copy"
		if err := WriteFolder(t.Context(), m, dir, FolderOptions{Form: Masters}); err != nil {
			t.Fatal(err)
		}
		if err := WriteFolder(t.Context(), m, dir+"2", FolderOptions{Form: Ternary}); err == nil || !strings.Contains(err.Error(), "no ternary form") {
			t.Errorf("%s: written as ternary: %v", name, err)
		}
		again, err := Open(dir, FullPrecision())
		if err != nil {
			t.Fatal(err)
		}
		if !again.Config().Float || again.Config().Theta != m.Config().Theta {
			t.Errorf("%s: written and read: %+v", name, again.Config())
		}
		again.Close()
		m.Close()
	}
	// A quantized model is what it is with the option too.
	m, err := Open(golden3(t, "offline"), FullPrecision())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Config().Float || m.Config().Form != Ternary {
		t.Errorf("%+v", m.Config())
	}
}

// TestUnreadableFamilies: a refusal names what the family has that is not
// supported.
func TestUnreadableFamilies(t *testing.T) {
	for want, change := range map[string]func(*hfFolder){
		"biases on the query, key and value projections": func(f *hfFolder) {
			f.config["model_type"], f.config["architectures"] = "qwen2", []string{"Qwen2ForCausalLM"}
		},
		"norms on queries and keys": func(f *hfFolder) { f.config["model_type"] = "qwen3" },
		"adds 1 to norm weights":    func(f *hfFolder) { f.config["architectures"] = []string{"GemmaForCausalLM"} },
		"sliding_window is 16": func(f *hfFolder) {
			f.config["model_type"], f.config["architectures"], f.config["sliding_window"] = "mistral", []string{"MistralForCausalLM"}, 16
		},
		`rotary scaling "llama3"`:  func(f *hfFolder) { f.config["rope_scaling"] = map[string]any{"rope_type": "llama3"} },
		"biases are not supported": func(f *hfFolder) { f.config["attention_bias"] = true },
	} {
		f := plainLlama(t)
		change(f)
		if _, err := OpenFS(f.fs(t), FullPrecision()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// Without the option the way to use such a model is named.
	if _, err := OpenFS(plainLlama(t).fs(t)); err == nil || !strings.Contains(err.Error(), "trit train --init") {
		t.Errorf("got %v", err)
	}
}
