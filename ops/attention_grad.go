package ops

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// AttentionGradOp differentiates AttentionOp. With p the probabilities,
// D_i = do_i·o_i and ds_ij = p_ij(do_i·v_j − D_i):
// dq_i = Σ_j ds_ij k_j/√hd, dk_j = Σ_i ds_ij q_i/√hd, dv_j = Σ_i p_ij do_i
// (Dao et al. 2022, appendix B).
var AttentionGradOp = graph.Define(graph.Def[AttentionAttrs]{
	Name: "attention.grad", Doc: "gradients of attention", In: "q, k, v, o, lse, do, seq, pos", Out: "dq, dk, dv",
	BF16: "q, k, v, o, do -> dq, dk, dv",
	Infer: func(a AttentionAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.checkTokens([]graph.Type{in[0], in[1], in[2], in[6], in[7]}); err != nil {
			return nil, err
		}
		return a.gradTypes(in)
	},
	Ref: func(a AttentionAttrs, in, out []graph.Tensor) error {
		attendGrad(a, nil, in, out)
		return nil
	},
})

// gradTypes checks o, lse and do against q and returns the gradients' types.
func (a AttentionAttrs) gradTypes(in []graph.Type) ([]graph.Type, error) {
	lse := graph.T(graph.F32, in[0].Shape[0], graph.C(a.Heads))
	if !in[3].Equal(in[0]) || !in[5].Equal(in[0]) || !in[4].Equal(lse) {
		return nil, fmt.Errorf("o and do must be %s and lse %s", in[0], lse)
	}
	return []graph.Type{in[0], in[1], in[2]}, nil
}

// attendGrad is the reference; nil drops nothing. seq and pos come last.
func attendGrad(a AttentionAttrs, drop *ProbsDropout, in, out []graph.Tensor) {
	q, k, v, o, lse, do := in[0].F32(), in[1].F32(), in[2].F32(), in[3].F32(), in[4].F32(), in[5].F32()
	at := newAttention(a, in)
	dq := make([]float64, len(q))
	dk := make([]float64, len(k))
	dv := make([]float64, len(v))
	factor := make([]float32, at.s)
	for j := range factor {
		factor[j] = 1
	}
	for i := range at.s {
		for h := range a.Heads {
			if drop != nil {
				drop.Factors(factor, i, h, 0)
			}
			qo := at.q(i, h)
			var d float64
			for c := range at.hd {
				d += float64(do[qo+c]) * float64(o[qo+c])
			}
			for j := range at.s {
				if !at.sees(i, j) {
					continue
				}
				ko := at.kv(j, h)
				var dot, dov float64
				for c := range at.hd {
					dot += float64(q[qo+c]) * float64(k[ko+c])
					dov += float64(do[qo+c]) * float64(v[ko+c])
				}
				f := float64(factor[j])
				p := math.Exp(dot*at.scale() - float64(lse[i*a.Heads+h]))
				ds := p * (f*dov - d) * at.scale()
				for c := range at.hd {
					dq[qo+c] += ds * float64(k[ko+c])
					dk[ko+c] += ds * float64(q[qo+c])
					dv[ko+c] += f * p * float64(do[qo+c])
				}
			}
		}
	}
	for i, src := range [][]float64{dq, dk, dv} {
		dst := out[i].F32()
		for j, x := range src {
			dst[j] = float32(x)
		}
	}
}
