// Package layer holds the building blocks that model declarations share: an op
// together with the parameters it declares. Parameter names follow the
// builder's scope, so that "q_proj" inside the scope "model.layers.0.self_attn"
// becomes "model.layers.0.self_attn.q_proj.weight".
package layer

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// Names of the inputs of a step and of its symbol.
const (
	TokensInput = "tokens"
	SeqInput    = "seq"
	PosInput    = "pos"
	TokensSym   = "S"
)

// Tokens are the inputs of a ragged step: token i is IDs[i] at position Pos[i]
// of sequence Seq[i]. It attends to tokens of its own sequence that do not come
// after it.
type Tokens struct {
	IDs, Seq, Pos graph.Value // i32[S]
}

// Inputs declares the inputs of a step of at most max tokens.
func Inputs(b *graph.Builder, max int) Tokens {
	s := b.Sym(TokensSym, 1, max)
	return Tokens{
		IDs: b.Input(TokensInput, graph.I32, s),
		Seq: b.Input(SeqInput, graph.I32, s),
		Pos: b.Input(PosInput, graph.I32, s),
	}
}

// Net makes layers whose matrices have element type Elem; the zero value makes
// f32 layers, which can be trained. Norm weights are f32 always.
type Net struct {
	Elem graph.DType
	// Quant chooses the quantizers of BitLinears; the zero value is
	// bitlinear.Default.
	Quant bitlinear.Attrs
	// ProjNorm, if above 0, is the epsilon of an RMSNorm before each BitLinear.
	ProjNorm float64
}

func (nn Net) elem() graph.DType {
	if nn.Elem == graph.InvalidDType {
		return graph.F32
	}
	return nn.Elem
}

// param declares the weight name in x's builder and scope.
func param(x graph.Value, name string, elem graph.DType, dims ...int) graph.Value {
	b := x.Builder()
	if b == nil {
		return graph.Value{}
	}
	graph.Helper(x)
	return b.Param(b.Path(name)+".weight", elem, dims...)
}

// width is the last extent of x, which parameters must match.
func width(x graph.Value) int {
	n, _ := x.Dim(-1).Const()
	return n
}

// Embed looks up ids i32[S] in a table of vocab rows of dim, as f32[S,dim]. It
// also returns the table, for a tied head.
func (nn Net) Embed(ids graph.Value, name string, vocab, dim int) (x, table graph.Value) {
	graph.Helper(ids)
	table = param(ids, name, nn.elem(), vocab, dim)
	return ops.Embedding(table, ids), table
}

// Norm is RMSNorm over x's last dimension with a weight of its own.
func (nn Net) Norm(x graph.Value, name string, eps float64) graph.Value {
	graph.Helper(x)
	return ops.RMSNorm(x, param(x, name, graph.F32, width(x)), eps)
}

// BitLinear projects x f32[S,K] to f32[S,out] with a weight that is used
// ternary.
func (nn Net) BitLinear(x graph.Value, name string, out int) graph.Value {
	graph.Helper(x)
	quant := nn.Quant
	if quant == (bitlinear.Attrs{}) {
		quant = bitlinear.Default
	}
	if nn.ProjNorm > 0 {
		x = In(x, name, func(x graph.Value) graph.Value {
			graph.Helper(x)
			return nn.Norm(x, "rms_norm", nn.ProjNorm)
		})
	}
	return bitlinear.Op.One(quant, x, param(x, name, nn.elem(), out, width(x)))
}

// Linear projects x f32[S,K] to f32[S,out] with an ordinary weight.
func (nn Net) Linear(x graph.Value, name string, out int) graph.Value {
	graph.Helper(x)
	return ops.Linear(x, param(x, name, nn.elem(), out, width(x)))
}

// Repeat declares n blocks, each in a scope "name.i", threading x through them.
func Repeat(x graph.Value, name string, n int, block func(x graph.Value) graph.Value) graph.Value {
	b := x.Builder()
	if b == nil {
		return x
	}
	for i := range n {
		leave := b.Scope(fmt.Sprintf("%s.%d", name, i))
		x = block(x)
		leave()
	}
	return x
}

// In declares f's parameters in a scope.
func In(x graph.Value, scope string, f func(x graph.Value) graph.Value) graph.Value {
	b := x.Builder()
	if b == nil {
		return x
	}
	defer b.Scope(scope)()
	return f(x)
}
