package passes

import (
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// Adapter says how a projection is adapted: two matrices A [Rank,K] and B
// [N,Rank] whose product, times Scale, is added to its weight.
type Adapter struct {
	Rank  int
	Scale float64
}

const weightSuffix = ".weight"

// Names of the matrices of an adapter beside the weight that it adapts, as PEFT
// names them: those of "q_proj.weight" are "q_proj.lora_A.weight" and
// "q_proj.lora_B.weight".
const (
	LoRAASuffix = ".lora_A" + weightSuffix
	LoRABSuffix = ".lora_B" + weightSuffix
)

// LoRANames returns the names of the matrices that adapt a weight.
func LoRANames(weight string) (a, b string) {
	base := strings.TrimSuffix(weight, weightSuffix)
	return base + LoRAASuffix, base + LoRABSuffix
}

// LoRA adds a low-rank adapter to each BitLinear whose weight is a param for
// which adapt returns a rank above 0: y = bitlinear(x, w) + scale·(x·Aᵀ)·Bᵀ, with
// A and B f32 params (Hu et al. 2022). The adapter reads the input as it is, not
// quantized. It is a pass of its own, in front of either pipeline.
func LoRA(adapt func(param string) Adapter) Pass {
	return rewrite("lora", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		if n.Op != bitlinear.Op.OpDef || n.In[1].Op() != graph.ParamOp.OpDef {
			return nil, false
		}
		name := graph.SourceName(n.In[1].Node())
		ad := adapt(name)
		if ad.Rank < 1 {
			return nil, false
		}
		y, x := rw.Copy(n)[0], rw.Get(n.In[0])
		rows, _ := n.In[1].Dim(0).Const()
		cols, _ := n.In[1].Dim(1).Const()
		an, bn := LoRANames(name)
		low := ops.Linear(x, rw.B.Param(an, graph.F32, ad.Rank, cols))
		up := ops.Linear(low, rw.B.Param(bn, graph.F32, rows, ad.Rank))
		return []graph.Value{ops.Add(y, ops.Scale(up, ad.Scale))}, true
	})
}

// Frozen says what the weight of a BitLinear that is not trained holds.
type Frozen uint8

const (
	Live        Frozen = iota // not frozen, or masters: the BitLinear stays
	Float                     // of a model without quantization: an ordinary linear layer
	Dequantized               // codes times scale: the input alone is still quantized
)

// Freeze replaces BitLinears of weights that are not trained by what they
// compute. A weight that is ternary already must not be quantized again: the
// absmean scale of codes times γ is not γ.
func Freeze(form func(param string) Frozen) Pass {
	return rewrite("freeze", func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
		a, ok := bitlinear.Op.Of(n)
		if !ok || n.In[1].Op() != graph.ParamOp.OpDef {
			return nil, false
		}
		f := form(graph.SourceName(n.In[1].Node()))
		if f == Live {
			return nil, false
		}
		x, w := rw.Get(n.In[0]), rw.Get(n.In[1])
		if f == Dequantized {
			x = ops.FakeQuant(x, ops.QuantAttrs{Bits: a.Bits, Round: a.Round})
		}
		return []graph.Value{ops.Linear(x, w)}, true
	})
}
