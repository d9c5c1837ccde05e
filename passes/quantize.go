package passes

import (
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// Ternarize turns the linear layers for which choose is true into BitLinears.
// A linear layer is a matmul with an f32 param as its right operand, [N,K] if it
// is read transposed and [K,N] if not, or as its left operand, [N,K], with
// activations in columns. The matmul's form is kept by transposes around the
// BitLinear, which FoldTransposes removes again in training and which are
// computed once, at load, in inference.
func Ternarize(attrs bitlinear.Attrs, choose func(n *graph.Node, param string) bool) Pass {
	return rewrite("ternarize", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		a, ok := ops.MatMulOp.Of(n)
		if !ok {
			return nil, false
		}
		weight := func(v graph.Value) bool {
			return v.Op() == graph.ParamOp.OpDef && v.Type().Elem == graph.F32 && choose(n, graph.SourceName(v.Node()))
		}
		turned := func(v graph.Value, turn bool) graph.Value {
			if turn {
				v = ops.Transpose(v)
			}
			return v
		}
		linear := func(x, w graph.Value) graph.Value { return bitlinear.Op.One(attrs, x, w) }
		switch in := n.In; {
		case weight(in[1]):
			return []graph.Value{linear(turned(rw.Get(in[0]), a.TA), turned(rw.Get(in[1]), !a.TB))}, true
		case weight(in[0]):
			return []graph.Value{turned(linear(turned(rw.Get(in[1]), !a.TB), turned(rw.Get(in[0]), a.TA)), true)}, true
		}
		return nil, false
	})
}

// InsertQuantize replaces each BitLinear by its training form: fake
// quantization of input and weight around an ordinary matmul, with
// straight-through gradients. Equal quantizers of one input are merged by CSE.
func InsertQuantize() Pass {
	return rewrite("insert-quantize", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != bitlinear.Op.OpDef {
			return nil, false
		}
		return inlineOne(rw, n)
	})
}

// DropQuantize replaces each BitLinear by the ordinary linear layer of the same
// weight: the unquantized twin of a model.
func DropQuantize() Pass {
	return rewrite("drop-quantize", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != bitlinear.Op.OpDef {
			return nil, false
		}
		in := rw.GetAll(n.In)
		return []graph.Value{ops.Linear(in[0], in[1])}, true
	})
}

// Names of the params that hold an already quantized weight.
const (
	CodesSuffix = ".codes" // tern[N,K]
	GammaSuffix = ".gamma" // f32[]
)

// LowerBitLinear replaces each BitLinear by integer ops: quantize the input,
// quantize the weight (once, at load), multiply exactly, rescale. A weight for
// which packed is true is stored ternary already: its param is replaced by two,
// named with CodesSuffix and GammaSuffix. packed may be nil. Where a weight has a
// scale for each group, one op sums the groups' exact products.
func LowerBitLinear(packed func(param string) bool) Pass {
	return rewrite("lower-bitlinear", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		a, ok := bitlinear.Op.Of(n)
		if !ok {
			return nil, false
		}
		w := n.In[1]
		q := ops.QuantActOp.Emit(ops.QuantAttrs{Bits: a.Bits, Round: a.Round}, rw.Get(n.In[0]))
		var t []graph.Value
		name := graph.SourceName(w.Node())
		held := packed != nil && w.Op() == graph.ParamOp.OpDef && packed(name)
		if a.Group != 0 {
			if held {
				return []graph.Value{rw.B.Errorf("%s: param %q is packed with one scale, but the layer has one for each %d weights", n.Where(), name, a.Group)}, true
			}
			t = ternary.QuantizeOp.Emit(a.Weights(), rw.Get(w))
			return []graph.Value{ternary.GroupMatMul(q[0], q[1], t[0], t[1])}, true
		}
		if held {
			rows, _ := w.Dim(0).Const()
			cols, _ := w.Dim(1).Const()
			t = []graph.Value{rw.B.Param(name+CodesSuffix, graph.Tern, rows, cols), rw.B.Param(name+GammaSuffix, graph.F32)}
		} else {
			t = ternary.QuantizeOp.Emit(a.Weights(), rw.Get(w))
		}
		acc := ternary.MatMul(q[0], t[0])
		return []graph.Value{bitlinear.Rescale(acc, q[1], t[1])}, true
	})
}

// MergeSiblings joins BitLinears of one quantized input (query, key and value;
// gate and up) into one op, so that the input is read once and the weights form
// one stretch of work.
func MergeSiblings() Pass {
	return Pass{"merge-siblings", func(g *graph.Graph) (*graph.Graph, error) {
		groups := siblings(g)
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			grp := groups[n]
			if len(grp) < 2 || rw.Done(n.Result(0)) {
				return nil, grp != nil && rw.Done(n.Result(0))
			}
			op := bitlinear.IntLinear2Op
			if len(grp) == 3 {
				op = bitlinear.IntLinear3Op
			}
			acc := grp[0].In[0].Node()
			in := []graph.Value{acc.In[0], grp[0].In[1]}
			for _, r := range grp {
				in = append(in, r.In[0].Node().In[1], r.In[2])
			}
			in = rw.GetAll(in)
			rw.Merge(grp, func() {
				for i, v := range op.Emit(graph.None{}, in...) {
					rw.Set(grp[i].Result(0), v)
				}
			})
			return nil, true
		})
	}}
}

// siblings maps each rescale node to the nodes it is merged with, itself
// included, in graph order and in groups of at most three, but for a gate, which
// comes first in a pair.
func siblings(g *graph.Graph) map[*graph.Node][]*graph.Node {
	type key struct{ q, s graph.Value }
	byInput := map[key][]*graph.Node{}
	var order []key
	uses := g.Uses()
	prep := g.Prep()
	outs := map[graph.Value]bool{}
	for _, v := range g.Outs {
		outs[v] = true
	}
	for _, n := range g.Nodes {
		if n.Op != bitlinear.RescaleOp.OpDef {
			continue
		}
		acc := n.In[0].Node()
		if acc.Op != ternary.MatMulOp.OpDef || len(uses[n.In[0]]) != 1 || outs[n.In[0]] {
			continue
		}
		// Weights known at load cannot depend on a sibling.
		if !prep[acc.In[1].Node()] || !prep[n.In[2].Node()] {
			continue
		}
		k := key{acc.In[0], n.In[1]}
		if byInput[k] == nil {
			order = append(order, k)
		}
		byInput[k] = append(byInput[k], n)
	}
	gate := func(n *graph.Node) bool {
		return slices.ContainsFunc(uses[n.Result(0)], func(u *graph.Node) bool { return u.Op == ops.ReLU2Op.OpDef })
	}
	groups := map[*graph.Node][]*graph.Node{}
	for _, k := range order {
		for ns := byInput[k]; len(ns) > 1; {
			size := min(3, len(ns))
			if len(ns) == 4 {
				size = 2
			}
			// A gate comes first, whatever was declared first: fused ops know it there.
			if size == 2 && gate(ns[1]) && !gate(ns[0]) {
				ns[0], ns[1] = ns[1], ns[0]
			}
			for _, n := range ns[:size] {
				groups[n] = ns[:size]
			}
			ns = ns[size:]
		}
	}
	return groups
}
