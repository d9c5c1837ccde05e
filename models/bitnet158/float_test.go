package bitnet158_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// llama is a small random model, written as transformers writes one and
// computed in float64 by code that shares nothing with the framework.
type llama struct {
	vocab, hidden, ffn, layers, heads, kv int
	theta, eps                            float64
	tied                                  bool
	w                                     map[string][]float32
	dims                                  map[string][]int
}

func newLlama(tied bool, kv int, theta, eps float64) *llama {
	m := &llama{vocab: 23, hidden: 16, ffn: 24, layers: 2, heads: 4, kv: kv, theta: theta, eps: eps, tied: tied,
		w: map[string][]float32{}, dims: map[string][]int{}}
	r := rand.New(rand.NewPCG(7, uint64(kv)))
	add := func(name string, mean, std float64, dims ...int) {
		n, _ := graph.Count(dims)
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(mean + std*r.NormFloat64())
		}
		m.w[name], m.dims[name] = v, dims
	}
	hd := m.hidden / m.heads
	add("model.embed_tokens.weight", 0, 0.5, m.vocab, m.hidden)
	for l := range m.layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(p+"input_layernorm.weight", 1, 0.1, m.hidden)
		add(p+"self_attn.q_proj.weight", 0, 0.3, m.hidden, m.hidden)
		add(p+"self_attn.k_proj.weight", 0, 0.3, kv*hd, m.hidden)
		add(p+"self_attn.v_proj.weight", 0, 0.3, kv*hd, m.hidden)
		add(p+"self_attn.o_proj.weight", 0, 0.3, m.hidden, m.hidden)
		add(p+"post_attention_layernorm.weight", 1, 0.1, m.hidden)
		add(p+"mlp.gate_proj.weight", 0, 0.3, m.ffn, m.hidden)
		add(p+"mlp.up_proj.weight", 0, 0.3, m.ffn, m.hidden)
		add(p+"mlp.down_proj.weight", 0, 0.3, m.hidden, m.ffn)
	}
	add("model.norm.weight", 1, 0.1, m.hidden)
	if !tied {
		add("lm_head.weight", 0, 0.3, m.vocab, m.hidden)
	}
	return m
}

func (m *llama) write(t *testing.T, dir string) {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
		"vocab_size": m.vocab, "hidden_size": m.hidden, "intermediate_size": m.ffn, "num_hidden_layers": m.layers,
		"num_attention_heads": m.heads, "num_key_value_heads": m.kv, "rms_norm_eps": m.eps, "rope_theta": m.theta,
		"max_position_embeddings": 64, "tie_word_embeddings": m.tied, "bos_token_id": 1, "eos_token_id": 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for name, v := range m.w {
		entries = append(entries, safetensors.EntryOf(name, graph.FromF32(v, m.dims[name]...)))
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
}

// linear is W·x.
func (m *llama) linear(name string, x []float64) []float64 {
	w, out := m.w[name], make([]float64, m.dims[name][0])
	for i := range out {
		for j, v := range x {
			out[i] += float64(w[i*len(x)+j]) * v
		}
	}
	return out
}

func (m *llama) norm(name string, x []float64) []float64 {
	var sq float64
	for _, v := range x {
		sq += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(m.w[name][i]) * v / math.Sqrt(sq/float64(len(x))+m.eps)
	}
	return out
}

// rotate turns pairs (i, i+hd/2) of each head by pos·theta^(−2i/hd).
func (m *llama) rotate(x []float64, pos, hd int) {
	for h := 0; h < len(x); h += hd {
		for i := range hd / 2 {
			sin, cos := math.Sincos(float64(pos) * math.Pow(m.theta, -2*float64(i)/float64(hd)))
			a, b := x[h+i], x[h+i+hd/2]
			x[h+i], x[h+i+hd/2] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// logits of each token of one sequence.
func (m *llama) logits(ids []int32) []float64 {
	hd := m.hidden / m.heads
	xs := make([][]float64, len(ids))
	for i, id := range ids {
		xs[i] = make([]float64, m.hidden)
		for j := range xs[i] {
			xs[i][j] = float64(m.w["model.embed_tokens.weight"][int(id)*m.hidden+j])
		}
	}
	plus := func(x, y []float64) {
		for i := range x {
			x[i] += y[i]
		}
	}
	for l := range m.layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		var ks, vs [][]float64
		for i, x := range xs {
			n := m.norm(p+"input_layernorm.weight", x)
			q, k := m.linear(p+"self_attn.q_proj.weight", n), m.linear(p+"self_attn.k_proj.weight", n)
			m.rotate(q, i, hd)
			m.rotate(k, i, hd)
			ks, vs = append(ks, k), append(vs, m.linear(p+"self_attn.v_proj.weight", n))
			o := make([]float64, m.hidden)
			for h := range m.heads {
				g := h / (m.heads / m.kv) * hd
				weights, sum := make([]float64, i+1), 0.0
				for j := range weights {
					var dot float64
					for c := range hd {
						dot += q[h*hd+c] * ks[j][g+c]
					}
					weights[j] = math.Exp(dot / math.Sqrt(float64(hd)))
					sum += weights[j]
				}
				for j, w := range weights {
					for c := range hd {
						o[h*hd+c] += w / sum * vs[j][g+c]
					}
				}
			}
			plus(x, m.linear(p+"self_attn.o_proj.weight", o))
			n = m.norm(p+"post_attention_layernorm.weight", x)
			gate, up := m.linear(p+"mlp.gate_proj.weight", n), m.linear(p+"mlp.up_proj.weight", n)
			for c, g := range gate {
				up[c] *= g / (1 + math.Exp(-g))
			}
			plus(x, m.linear(p+"mlp.down_proj.weight", up))
		}
	}
	head := "lm_head.weight"
	if m.tied {
		head = "model.embed_tokens.weight"
	}
	var out []float64
	for _, x := range xs {
		out = append(out, m.linear(head, m.norm("model.norm.weight", x))...)
	}
	return out
}

// TestFloatLlama reads Llama folders without quantization and holds the declared
// graph, unquantized and without the norms of BitNet, to the independent code.
func TestFloatLlama(t *testing.T) {
	for _, c := range []struct {
		tied       bool
		kv         int
		theta, eps float64
	}{{true, 4, 10000, 1e-6}, {false, 2, 500000, 1e-5}, {true, 1, 100, 1e-2}} {
		m, dir := newLlama(c.tied, c.kv, c.theta, c.eps), t.TempDir()
		m.write(t, dir)
		ck, err := checkpoint.Open(dir, checkpoint.FullPrecision())
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		g, err := bitnet158.Forward(ck.Config(), 16)
		if err == nil {
			g, err = passes.Eval(true).Run(g, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids := []int32{1, 5, 22, 5, 0, 9, 13}
		res, err := graph.Eval(g, graph.Env{Inputs: step(ids), Params: params(t, g, bitnet158.NewWeights(ck))})
		if err != nil {
			t.Fatal(err)
		}
		var most float64
		for i, want := range m.logits(ids) {
			most = max(most, math.Abs(float64(res.Outs[0].F32()[i])-want))
		}
		if most > 2e-6 {
			t.Errorf("%+v: logits differ by %.3g", c, most)
		}
	}
}

func TestFromFloat(t *testing.T) {
	m, dir := newLlama(true, 2, 10000, 1e-6), t.TempDir()
	m.write(t, dir)
	ck, err := checkpoint.Open(dir, checkpoint.FullPrecision())
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	got, err := bitnet158.FromFloat(ck.Config(), true, "")
	if err != nil || got.ModelType != "bitnet" || !got.SubNorm || got.Float || got.Act != checkpoint.SiLU || got.NormEps != 1e-6 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = bitnet158.FromFloat(ck.Config(), false, checkpoint.ReLU2)
	if err != nil || got.ModelType != "llama" || got.SubNorm || got.Act != checkpoint.ReLU2 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := bitnet158.FromFloat(got, true, ""); err == nil {
		t.Error("a quantized model was converted")
	}
	wide := ck.Config()
	wide.HeadDim = 8
	if _, err := bitnet158.FromFloat(wide, true, ""); err == nil || !strings.Contains(err.Error(), "without the norms") {
		t.Errorf("got %v", err)
	}
	if _, err := bitnet158.FromFloat(wide, false, ""); err != nil {
		t.Error(err)
	}
}
