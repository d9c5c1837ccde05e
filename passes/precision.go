package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Precision computes activations in bf16 (Micikevicius et al. 2018, "Mixed
// Precision Training"; Kalamkar et al. 2019 for bf16, which needs no scaling of
// the loss). Params stay f32. The result of an embedding is cast, and so are
// weights where they meet a matmul, behind their quantizer if they have one; from
// there on every op that has a form in bf16 (see graph.Narrow) takes it when an
// operand is bf16, and its other f32 operands are cast. Ops without one get their
// operands back in f32. Outputs keep their types.
//
// It stands before differentiation: the gradient of an activation is then bf16,
// that of a param f32, because the gradient of a cast is a cast.
func Precision() Pass {
	return Pass{"precision", func(g *graph.Graph) (*graph.Graph, error) {
		casts := map[graph.Value]graph.Value{} // each value is cast once
		cast := func(v graph.Value, to graph.DType) graph.Value {
			if v.Type().Elem == to {
				return v
			}
			if c := casts[v]; c.Valid() && c.Type().Elem == to {
				return c
			}
			c := ops.Cast(v, to)
			casts[v] = c
			return c
		}
		narrow, err := graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if graph.IsSource(n.Op) {
				return nil, false
			}
			in := rw.GetAll(n.In)
			product := n.Op == ops.MatMulOp.OpDef || n.Op == ops.BatchMatMulOp.OpDef
			half := product
			for i, v := range in {
				half = half || n.Op.NarrowOperand(i) && v.Type().Elem == graph.BF16
			}
			half = half && n.Op.BF16 != nil
			for i, v := range in {
				switch was := n.In[i].Type().Elem; {
				case half && n.Op.NarrowOperand(i) && (was == graph.F32 || product):
					in[i] = cast(v, graph.BF16)
				case was == graph.F32:
					in[i] = cast(v, graph.F32)
				}
			}
			out := rw.B.Emit(n.Op, n.Attrs, in...)
			if n.Op == ops.EmbeddingOp.OpDef {
				out[0] = cast(out[0], graph.BF16)
			}
			return out, true
		})
		if err != nil {
			return nil, err
		}
		b, m := graph.Reopen(narrow)
		outs := make([]graph.Value, len(g.Outs))
		for i, v := range narrow.Outs {
			if outs[i] = m[v]; g.Outs[i].Type().Elem == graph.F32 && v.Type().Elem == graph.BF16 {
				outs[i] = ops.Cast(m[v], graph.F32)
			}
		}
		return b.Finish(outs...)
	}}
}
