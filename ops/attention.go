package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// AttentionAttrs describes grouped-query attention: query head h reads
// key/value head h/(Heads/KVHeads). Window, if positive, limits a token to the
// last Window positions, itself included.
type AttentionAttrs struct {
	Heads   int
	KVHeads int `ir:"kv_heads"`
	Window  int
}

// Sees reports whether a token at position pos may attend to position past.
func (a AttentionAttrs) Sees(pos, past int) bool {
	return past <= pos && (a.Window <= 0 || pos-past < a.Window)
}

// headDim checks the head counts against the width of q and returns the width
// of one head.
func (a AttentionAttrs) headDim(q graph.Type) (int, error) {
	d, ok := q.Last().Const()
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 {
		return 0, fmt.Errorf("heads %d is not a multiple of kv_heads %d", a.Heads, a.KVHeads)
	}
	if !ok || d == 0 || d%a.Heads != 0 {
		return 0, fmt.Errorf("q is %s, not a whole number of %d heads", q, a.Heads)
	}
	return d / a.Heads, nil
}

// AttentionOp is ragged causal softmax attention: token i attends to token j if
// seq[i] = seq[j] and pos[j] ≤ pos[i]. The second result is the log-sum-exp of
// each token's and head's scores, which the gradient needs.
var AttentionOp = graph.Define(graph.Def[AttentionAttrs]{
	Name: "attention", Doc: "ragged causal grouped-query attention", In: "q, k, v, seq, pos", Out: "o, lse",
	BF16: "q, k, v -> o",
	Infer: func(a AttentionAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.checkTokens(in); err != nil {
			return nil, err
		}
		return []graph.Type{in[0], graph.T(graph.F32, in[0].Shape[0], graph.C(a.Heads))}, nil
	},
	Ref: func(a AttentionAttrs, in, out []graph.Tensor) error {
		attend(a, nil, in, out)
		return nil
	},
	Grad: func(a AttentionAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		if c.DOut[1].Valid() {
			return nil, fmt.Errorf("the log-sum-exp result is not differentiable")
		}
		return AttentionGradOp.Emit(a, c.In[0], c.In[1], c.In[2], c.Out[0], c.Out[1], c.DOut[0], c.In[3], c.In[4]), nil
	},
})

// Attention returns the attention output f32[S,H*hd] for q f32[S,H*hd], k and v
// f32[S,KV*hd], seq and pos i32[S].
func Attention(q, k, v, seq, pos graph.Value, a AttentionAttrs) graph.Value {
	return AttentionOp.Emit(a, q, k, v, seq, pos)[0]
}

func (a AttentionAttrs) checkTokens(in []graph.Type) error {
	if err := Check(in, F32("q", 2), F32("k", 2), F32("v", 2), I32("seq", 1), I32("pos", 1)); err != nil {
		return err
	}
	hd, err := a.headDim(in[0])
	if err != nil {
		return err
	}
	want := graph.T(graph.F32, in[0].Shape[0], graph.C(a.KVHeads*hd))
	for i, name := range []string{"k", "v"} {
		if !in[1+i].Equal(want) {
			return fmt.Errorf("%s is %s, want %s", name, in[1+i], want)
		}
	}
	if err := EqualDim("q", in[0].Shape[0], "seq", in[3].Shape[0]); err != nil {
		return err
	}
	return EqualDim("q", in[0].Shape[0], "pos", in[4].Shape[0])
}

// attend is the reference; nil drops nothing. seq and pos come last.
func attend(a AttentionAttrs, drop *ProbsDropout, in, out []graph.Tensor) {
	q, k, v := in[0].F32(), in[1].F32(), in[2].F32()
	o, lse := out[0].F32(), out[1].F32()
	at := newAttention(a, in)
	p, acc := make([]float64, at.s), make([]float64, at.hd)
	factor := make([]float32, at.s)
	for i := range at.s {
		for h := range a.Heads {
			l := at.probs(p, q, k, i, h)
			lse[i*a.Heads+h] = float32(l)
			if drop != nil {
				drop.Factors(factor, i, h, 0)
				for j, f := range factor {
					p[j] *= float64(f)
				}
			}
			clear(acc)
			for j, pj := range p {
				for c := range acc {
					acc[c] += pj * float64(v[at.kv(j, h)+c])
				}
			}
			for c, x := range acc {
				o[at.q(i, h)+c] = float32(x)
			}
		}
	}
}

// attention indexes the operands of the reference implementations.
type attention struct {
	a        AttentionAttrs
	s, hd    int
	seq, pos []int32
}

func newAttention(a AttentionAttrs, in []graph.Tensor) attention {
	n := len(in)
	return attention{a, in[0].Dims[0], in[0].Dims[1] / a.Heads, in[n-2].I32(), in[n-1].I32()}
}

func (at attention) q(i, h int) int { return (i*at.a.Heads + h) * at.hd }
func (at attention) kv(j, h int) int {
	return (j*at.a.KVHeads + h/(at.a.Heads/at.a.KVHeads)) * at.hd
}
func (at attention) sees(i, j int) bool {
	return at.seq[i] == at.seq[j] && at.a.Sees(int(at.pos[i]), int(at.pos[j]))
}
func (at attention) scale() float64 { return 1 / math.Sqrt(float64(at.hd)) }

// probs fills p with token i's attention over all tokens for head h and returns
// the log-sum-exp of the scores.
func (at attention) probs(p []float64, q, k []float32, i, h int) float64 {
	most := math.Inf(-1)
	for j := range p {
		p[j] = math.Inf(-1)
		if at.sees(i, j) {
			var dot float64
			qo, ko := at.q(i, h), at.kv(j, h)
			for c := range at.hd {
				dot += float64(q[qo+c]) * float64(k[ko+c])
			}
			p[j] = dot * at.scale()
			most = max(most, p[j])
		}
	}
	var sum float64
	for j := range p {
		p[j] = math.Exp(p[j] - most)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return most + math.Log(sum)
}
