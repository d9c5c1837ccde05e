package adapter

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/layer"
)

// write makes a PEFT folder.
func write(t testing.TB, config map[string]any, tensors map[string]graph.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), text, 0o666); err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for name, x := range tensors {
		entries = append(entries, safetensors.EntryOf(name, x))
	}
	if err := safetensors.WriteFile(filepath.Join(dir, weights), entries, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func good() (map[string]any, map[string]graph.Tensor) {
	return map[string]any{"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": "all-linear"}, map[string]graph.Tensor{
		"base_model.model.layers.0.q_proj.lora_A.weight": graph.FromF32([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4),
		"base_model.model.layers.0.q_proj.lora_B.weight": graph.FromF32([]float32{1, 2, 3, 4, 5, 6}, 3, 2),
	}
}

func TestOpen(t *testing.T) {
	config, tensors := good()
	a, err := Open(write(t, config, tensors))
	if err != nil {
		t.Fatal(err)
	}
	if a.Scale() != 1.5 || len(a.Tensors) != 2 {
		t.Errorf("%+v", a)
	}
	config["use_rslora"] = true
	if a, err = Open(write(t, config, tensors)); err != nil || a.Scale() != 3/math.Sqrt2 {
		t.Errorf("%v, %v", a.Scale(), err)
	}
	text, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(text)
	if err != nil || again.Rank != 2 || again.Alpha != 3 || !again.RSLoRA {
		t.Errorf("%+v, %v", again, err)
	}
	for want, change := range map[string]func(c map[string]any, x map[string]graph.Tensor){
		`peft_type "IA3"`: func(c map[string]any, _ map[string]graph.Tensor) { c["peft_type"] = "IA3" },
		"DoRA":            func(c map[string]any, _ map[string]graph.Tensor) { c["use_dora"] = true },
		`bias "all"`:      func(c map[string]any, _ map[string]graph.Tensor) { c["bias"] = "all" },
		"modules_to_save": func(c map[string]any, _ map[string]graph.Tensor) { c["modules_to_save"] = []string{"lm_head"} },
		"rank_pattern":    func(c map[string]any, _ map[string]graph.Tensor) { c["rank_pattern"] = map[string]int{"q": 1} },
		"rank r is 0":     func(c map[string]any, _ map[string]graph.Tensor) { c["r"] = 0 },
		"not of rank 3":   func(c map[string]any, _ map[string]graph.Tensor) { c["r"] = 3 },
		"no counterpart": func(_ map[string]any, x map[string]graph.Tensor) {
			delete(x, "base_model.model.layers.0.q_proj.lora_B.weight")
		},
		"no matrix of a LoRA": func(_ map[string]any, x map[string]graph.Tensor) {
			x["base_model.model.norm"] = graph.FromF32([]float32{1}, 1)
		},
		"there are no tensors": func(_ map[string]any, x map[string]graph.Tensor) { clear(x) },
	} {
		c, x := good()
		change(c, x)
		if _, err := Open(write(t, c, x)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestPass refuses an adapter of another model.
func TestPass(t *testing.T) {
	config, tensors := good()
	a, err := Open(write(t, config, tensors))
	if err != nil {
		t.Fatal(err)
	}
	model := func(scope string, in, out int) *graph.Graph {
		b := graph.NewBuilder("g")
		x := b.Input("x", graph.F32, b.Sym("S", 1, 4), graph.C(in))
		defer b.Scope(scope)()
		var nn layer.Net
		g, err := b.Finish(nn.BitLinear(x, "q_proj", out))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g, err := a.Pass().Run(model("layers.0", 4, 3))
	if err != nil || len(g.Params()) != 3 {
		t.Errorf("%v", err)
	}
	if _, err := a.Pass().Run(model("layers.1", 4, 3)); err == nil || !strings.Contains(err.Error(), "no projection for tensor layers.0") {
		t.Errorf("got %v", err)
	}
	if _, err := a.Pass().Run(model("layers.0", 5, 3)); err == nil || !strings.Contains(err.Error(), "the model wants [2 5]") {
		t.Errorf("got %v", err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj"],"bias":"none"}`))
	f.Add([]byte(`{"r":1e9}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		out, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(out); err != nil || again.Rank != c.Rank || again.Alpha != c.Alpha {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
