package bitnet158_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/llamatest"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// llama computes a model in float64, by code that shares nothing with the
// framework.
type llama struct {
	llamatest.Model
	w map[string]graph.Tensor
}

func newLlama(t *testing.T, tied bool, kv int, theta, eps float64) (*llama, string) {
	m, dir := llamatest.Model{Vocab: 23, Hidden: 16, FFN: 24, Layers: 2, Heads: 4, KVHeads: kv, Theta: theta, Eps: eps, Tied: tied, Std: 0.3, Seed: 7}, t.TempDir()
	return &llama{m, m.Write(t, dir)}, dir
}

// linear is W·x.
func (m *llama) linear(name string, x []float64) []float64 {
	w, out := m.w[name], make([]float64, m.w[name].Dims[0])
	for i := range out {
		for j, v := range x {
			out[i] += float64(w.F32()[i*len(x)+j]) * v
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
		out[i] = float64(m.w[name].F32()[i]) * v / math.Sqrt(sq/float64(len(x))+m.Eps)
	}
	return out
}

// rotate turns pairs (i, i+hd/2) of each head by pos·theta^(−2i/hd).
func (m *llama) rotate(x []float64, pos, hd int) {
	for h := 0; h < len(x); h += hd {
		for i := range hd / 2 {
			sin, cos := math.Sincos(float64(pos) * math.Pow(m.Theta, -2*float64(i)/float64(hd)))
			a, b := x[h+i], x[h+i+hd/2]
			x[h+i], x[h+i+hd/2] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// logits of each token of one sequence.
func (m *llama) logits(ids []int32) []float64 {
	hd := m.Hidden / m.Heads
	xs := make([][]float64, len(ids))
	for i, id := range ids {
		xs[i] = make([]float64, m.Hidden)
		for j := range xs[i] {
			xs[i][j] = float64(m.w["model.embed_tokens.weight"].F32()[int(id)*m.Hidden+j])
		}
	}
	plus := func(x, y []float64) {
		for i := range x {
			x[i] += y[i]
		}
	}
	for l := range m.Layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		var ks, vs [][]float64
		for i, x := range xs {
			n := m.norm(p+"input_layernorm.weight", x)
			q, k := m.linear(p+"self_attn.q_proj.weight", n), m.linear(p+"self_attn.k_proj.weight", n)
			m.rotate(q, i, hd)
			m.rotate(k, i, hd)
			ks, vs = append(ks, k), append(vs, m.linear(p+"self_attn.v_proj.weight", n))
			o := make([]float64, m.Hidden)
			for h := range m.Heads {
				g := h / (m.Heads / m.KVHeads) * hd
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
	if m.Tied {
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
		m, dir := newLlama(t, c.tied, c.kv, c.theta, c.eps)
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
	_, dir := newLlama(t, true, 2, 10000, 1e-6)
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
