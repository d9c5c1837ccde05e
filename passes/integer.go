package passes

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// IntegerForward computes the BitLinears of a training step as inference does:
// the product of a fake-quantized input and a fake-quantized weight becomes the
// exact product of their codes, rescaled. The codes are the same, so the result
// is that of the product in floats without its rounding errors: with K terms and
// any order of sums, they differ by at most (K+4)·2⁻²⁴·Σ|x·w|.
//
// In bf16 the rescaled product is rounded to it once; the weight's quantizer and its
// cast count as one.
//
// Where the backward pass reads a quantized input or weight, it is made of the
// codes again, just before its first use and with the same bits; so a byte a
// value is kept in place of four. Gradients stay straight-through.
func IntegerForward() Pass {
	return Pass{"integer-forward", func(g *graph.Graph) (*graph.Graph, error) {
		products, fakes := forwardProducts(g)
		codes := map[graph.Value][]graph.Value{}
		quantized := func(rw *graph.Rewriter, v graph.Value) []graph.Value {
			v = uncast(v)
			if codes[v] == nil {
				n := v.Node()
				rw.At(n, func() {
					if a, ok := ops.FakeQuantOp.Of(n); ok {
						codes[v] = ops.QuantActOp.Emit(a, rw.Get(n.In[0]))
					} else {
						codes[v] = ternary.QuantizeOp.Emit(ternary.AbsMean, rw.Get(n.In[0]))
					}
				})
			}
			return codes[v]
		}
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			switch {
			case len(n.Out) == 1 && fakes[n.Result(0)]:
				quantized(rw, n.Result(0))
				return nil, true
			case products[n]:
				q, t := quantized(rw, n.In[0]), quantized(rw, n.In[1])
				y := bitlinear.Rescale(ternary.MatMul(q[0], t[0]), q[1], t[1])
				return []graph.Value{as(n.Out[0].Elem, y)}, true
			}
			for _, v := range n.In {
				if !fakes[v] || rw.Done(v) {
					continue
				}
				c := quantized(rw, v)
				rw.At(v.Node(), func() {
					d := ops.Dequant
					if uncast(v).Op() != ops.FakeQuantOp.OpDef {
						d = ternary.Dequant
					}
					rw.Set(v, as(v.Type().Elem, d(c[0], c[1])))
				})
			}
			return nil, false
		})
	}}
}

// uncast is the operand of a cast, or v itself.
func uncast(v graph.Value) graph.Value {
	if v.Op() == ops.CastOp.OpDef {
		return v.Node().In[0]
	}
	return v
}

// as is v in the given element type.
func as(elem graph.DType, v graph.Value) graph.Value {
	if v.Type().Elem == elem {
		return v
	}
	return ops.Cast(v, elem)
}

// forwardProducts finds the products of an input and a weight that are both
// quantized, and the results of those quantizers and of the casts behind them.
func forwardProducts(g *graph.Graph) (products map[*graph.Node]bool, fakes map[graph.Value]bool) {
	products, fakes = map[*graph.Node]bool{}, map[graph.Value]bool{}
	outs := map[graph.Value]bool{}
	for _, v := range g.Outs {
		outs[v] = true
	}
	for _, n := range g.Nodes {
		a, ok := ops.MatMulOp.Of(n)
		if !ok || a.TA || !a.TB || n.In[0].Op() != ops.FakeQuantOp.OpDef || outs[n.In[0]] || outs[n.In[1]] {
			continue
		}
		w := uncast(n.In[1])
		if s, ok := ternary.FakeOp.Of(w.Node()); !ok || s != ternary.AbsMean || outs[w] {
			continue
		}
		products[n], fakes[n.In[0]], fakes[n.In[1]], fakes[w] = true, true, true, true
	}
	return products, fakes
}
