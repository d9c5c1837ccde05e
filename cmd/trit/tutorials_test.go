package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/tokenizer"
)

// TestTutorials runs what the tutorials tell a reader to type, in a folder that
// has what they presume, at a size that takes seconds: training commands get a few
// steps and short windows. Blocks marked "sh" are commands, one a line; a block
// marked "jsonl NAME" is the file of that name.
func TestTutorials(t *testing.T) {
	docs, err := filepath.Abs(filepath.Join("..", "..", "docs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	writeLlama(t, "llama")
	if err := os.Mkdir("texts", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		text := strings.Repeat(fmt.Sprintf("Once upon a time there were %d trits. ", i), 20)
		if err := os.WriteFile(fmt.Sprintf("texts/%d.txt", i), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	small := []string{"--window", "96", "--rows", "2", "--validate-windows", "2", "--threads", "1"}
	ok(t, nil, append([]string{"train", "--init", "llama", "--data", "texts", "--out", "base", "--steps", "4"}, small...)...)
	for name, least := range map[string]int{"conversion.md": 4, "finetuning.md": 7} {
		text, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for i, part := range strings.Split(string(text), "```") {
			kind, body, _ := strings.Cut(part, "\n")
			if file, is := strings.CutPrefix(kind, "jsonl "); is && i%2 == 1 {
				if err := os.WriteFile(file, []byte(body), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if kind != "sh" || i%2 == 0 {
				continue
			}
			for line := range strings.Lines(body) {
				args := shellWords(strings.TrimSpace(line))
				if len(args) == 0 {
					continue
				}
				if args[0] != "trit" {
					t.Fatalf("%s: %q is no command of trit", name, line)
				}
				args = args[1:]
				if args[0] == "train" {
					args = append(args, small...)
					steps := "4"
					if strings.Contains(line, "--resume") {
						steps = "6"
					}
					args = append(args, "--steps", steps)
				}
				ok(t, nil, args...)
				ran++
			}
		}
		if ran < least {
			t.Errorf("%s: only %d commands ran", name, ran)
		}
	}
	// What the adapter is for: the model that it names runs with it and without.
	out := ok(t, []string{"lost in rounding"}, "convert", "base", "merged2", "--to", "offline", "--adapter", "runs/lora")
	if !strings.Contains(out, "codes of the adapted projections") {
		t.Error(out)
	}
	ok(t, []string{"tokens of held-out answers"}, "eval", "heldout", "runs/lora")
	if out, code := trit(t, "run", "--adapter", "base", "x"); code == 0 || !strings.Contains(out, "adapter_config.json") {
		t.Errorf("a model as an adapter: exit %d, %s", code, out)
	}
}

// shellWords splits a line at blanks outside of double quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// writeLlama makes a tiny random Llama with a tokenizer of bytes, as transformers
// would write it.
func writeLlama(t *testing.T, dir string) {
	t.Helper()
	const vocab, hidden, ffn, heads, kv = 258, 32, 64, 2, 1
	tok, err := tokenizer.NewBytes("<|end_of_text|>", "<|eot_id|>")
	if err == nil {
		err = tok.Save(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var entries []safetensors.Entry
	add := func(name string, dims ...int) {
		x := graph.NewTensor(graph.F32, dims...)
		for i := range x.F32() {
			if x.F32()[i] = 1; len(dims) > 1 {
				x.F32()[i] = float32(0.1 * r.NormFloat64())
			}
		}
		entries = append(entries, safetensors.EntryOf(name, x))
	}
	add("model.embed_tokens.weight", vocab, hidden)
	add("model.norm.weight", hidden)
	for l := range 2 {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(p+"input_layernorm.weight", hidden)
		add(p+"post_attention_layernorm.weight", hidden)
		add(p+"self_attn.q_proj.weight", hidden, hidden)
		add(p+"self_attn.k_proj.weight", hidden*kv/heads, hidden)
		add(p+"self_attn.v_proj.weight", hidden*kv/heads, hidden)
		add(p+"self_attn.o_proj.weight", hidden, hidden)
		add(p+"mlp.gate_proj.weight", ffn, hidden)
		add(p+"mlp.up_proj.weight", ffn, hidden)
		add(p+"mlp.down_proj.weight", hidden, ffn)
	}
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
		"vocab_size": vocab, "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": 2, "num_attention_heads": heads,
		"num_key_value_heads": kv, "rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": true, "max_position_embeddings": 256,
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
}
