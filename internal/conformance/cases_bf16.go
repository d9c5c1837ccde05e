package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// toBF16 gives the cases of an op without attributes to the fused op that casts its
// result. The residual stream res, if there is one, is bf16 too.
func toBF16(cases func(*Rand) []Case, res bool) func(*Rand) []Case {
	return func(r *Rand) []Case {
		cs := cases(r)
		for i := range cs {
			cs[i].Attrs = ops.CastAttrs{To: graph.BF16.String()}
			if last := len(cs[i].In) - 1; res {
				cs[i].In[last] = r.Float(graph.BF16, cs[i].In[last].Dims...)
			}
		}
		return cs
	}
}

// fakeCast is the weight quantizer's cases, of f32 weights.
func fakeCast(r *Rand) []Case {
	var cs []Case
	for _, c := range quantize(r) {
		if a := c.Attrs.(ternary.ScaleAttrs); c.In[0].Elem == graph.F32 {
			c.Attrs = bitlinear.FakeCastAttrs{Scale: a.Scale, Group: a.Group, To: graph.BF16.String()}
			cs = append(cs, c)
		}
	}
	return cs
}
