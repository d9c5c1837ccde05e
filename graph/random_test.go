package graph_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/graph/testdata/extop"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"pgregory.net/rapid"
)

// width is the row length of every activation in a random graph: two heads of
// four.
const width = 8

// random builds a graph out of real ops: activations f32[S,8], tokens of
// several sequences, params, constants, paged caches and optimizer states.
type random struct {
	t    *rapid.T
	b    *graph.Builder
	s    graph.Dim
	acts []graph.Value // f32[S,8]
	outs []graph.Value // of other types
	toks []graph.Value // i32[S]
	n    int
}

// drawGraph returns a random finished graph.
func drawGraph(t *rapid.T) *graph.Graph {
	b := graph.NewBuilder(rapid.SampledFrom([]string{"g", "layers.0.attn", ""}).Draw(t, "graph"))
	r := &random{t: t, b: b, s: b.Sym("S", 1, 64)}
	if rapid.Bool().Draw(t, "extra symbol") {
		b.Sym("R", 0, 3)
	}
	r.toks = []graph.Value{b.Input("seq", graph.I32, r.s), b.Input("pos", graph.I32, r.s)}
	r.acts = []graph.Value{b.Input("x", graph.F32, r.s, graph.C(width))}
	if rapid.Bool().Draw(t, "input called 0") {
		r.acts = append(r.acts, b.Input("0", graph.F32, r.s, graph.C(width)))
	}
	for range rapid.IntRange(0, 14).Draw(t, "nodes") {
		r.step()
	}
	outs := slices.Clone(r.outs)
	for _, v := range r.acts {
		if v.Op() != graph.InputOp.OpDef && rapid.Bool().Draw(t, "output") {
			outs = append(outs, v)
		}
	}
	g, err := b.Finish(outs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		n.Pos = drawPos(t, n.Pos)
		if n.Op != graph.InputOp.OpDef && rapid.IntRange(0, 9).Draw(t, "layout") == 0 {
			n.Out[0].Layout = graph.Layout(rapid.SampledFrom([]string{"i2x4x32", "a.b_C", "0"}).Draw(t, "name"))
		}
	}
	return g
}

// drawPos varies positions: none, several files, several lines, odd names.
func drawPos(t *rapid.T, own []graph.Pos) []graph.Pos {
	switch rapid.IntRange(0, 5).Draw(t, "pos") {
	case 0:
		return nil
	case 1:
		return append(slices.Clone(own), graph.Pos{File: "other.go", Line: 7}, graph.Pos{File: "/a/b/other.go", Line: 8})
	case 2:
		return []graph.Pos{{}, {File: "my model: a.go", Line: 3}, {File: "C:\\x.go", Line: 1}, {}}
	}
	return own
}

func (r *random) act() graph.Value { return rapid.SampledFrom(r.acts).Draw(r.t, "operand") }

func (r *random) name(kind string) string {
	r.n++
	return fmt.Sprintf("%s%s.%d.weight", rapid.SampledFrom([]string{"", "layers.0.", "a b/", "π\"\\"}).Draw(r.t, "prefix"), kind, r.n)
}

func (r *random) param(dims ...int) graph.Value { return r.b.Param(r.name("w"), graph.F32, dims...) }

func (r *random) step() {
	if rapid.IntRange(0, 3).Draw(r.t, "enter") == 0 {
		defer r.b.Scope(rapid.SampledFrom([]string{"mlp", "attn.o", "odd \"scope\" // é\n"}).Draw(r.t, "scope"))()
	}
	x := r.act()
	var y graph.Value
	switch k := rapid.IntRange(0, 18).Draw(r.t, "kind"); k {
	case 0:
		y = ops.Add(x, r.act())
	case 1:
		y = ops.Mul(x, r.b.ConstF32(rapid.Float32().Draw(r.t, "factor")))
	case 2:
		y = ops.Scale(x, rapid.Float64().Draw(r.t, "by"))
	case 3:
		y = ops.RMSNorm(x, r.param(width), rapid.SampledFrom([]float64{0, 1e-5, 1e-6}).Draw(r.t, "eps"))
	case 4:
		y = ops.Linear(x, r.param(width, width))
	case 5:
		y = ops.RoPE(x, r.toks[1], 1e4, 4)
	case 6:
		a := ops.AttentionAttrs{Heads: 2, KVHeads: 2, Window: rapid.IntRange(-1, 3).Draw(r.t, "window")}
		y = ops.Attention(x, r.act(), r.act(), r.toks[0], r.toks[1], a)
	case 7:
		y = bitlinear.Linear(x, r.param(width, width))
	case 8:
		y = r.quantized(x)
	case 9:
		y = ops.Softmax(ops.ReLU2(x))
	case 10:
		y = ops.FakeQuant(x, ops.QuantAttrs{Bits: 4, Round: "even"})
	case 11:
		y = r.cached(x)
	case 12:
		r.outs = append(r.outs, ops.CrossEntropy(x, r.toks[0]), ops.Sum(x))
	case 13:
		r.optimizer(x)
	case 14:
		y = r.constant(x)
	case 15:
		y = ops.Cast(ops.Cast(x, graph.BF16), graph.F32)
	case 16:
		y = ops.Embedding(r.param(5, width), r.toks[0])
	case 17:
		y = extop.Quad(x)
	case 18:
		y = fusedGLU(x, r.act())
	}
	if y.Valid() {
		if rapid.Bool().Draw(r.t, "named") {
			r.b.Name(y, rapid.SampledFrom([]string{"y", "y_2", "x", "seq", "return", "param", "d.gate"}).Draw(r.t, "hint"))
		}
		r.acts = append(r.acts, y)
	}
}

func fusedGLU(gate, up graph.Value) graph.Value {
	return bitlinear.ReLU2GLUOp.One(graph.None{}, gate, up)
}

func (r *random) quantized(x graph.Value) graph.Value {
	q, s := ops.QuantAct(x, ops.Int8)
	t, gamma := ternary.Quantize(r.param(width, width))
	return bitlinear.Rescale(ternary.MatMul(q, t), s, gamma)
}

func (r *random) cached(x graph.Value) graph.Value {
	elem := rapid.SampledFrom([]graph.DType{graph.F32, graph.F16, graph.BF16}).Draw(r.t, "cache")
	kc := r.b.State(r.name("k"), elem, graph.C(3), graph.C(2), graph.C(width))
	vc := r.b.State(r.name("v"), elem, graph.C(3), graph.C(2), graph.C(width))
	table := r.b.Const(graph.FromI32([]int32{2, 0, 1}, 1, 3))
	kv := ops.KVAppendOp.Emit(graph.None{}, kc, vc, x, r.act(), r.toks[0], r.toks[1], table)
	return ops.CachedAttentionOp.One(ops.AttentionAttrs{Heads: 2, KVHeads: 2}, x, kv[0], kv[1], r.toks[0], r.toks[1], table)
}

func (r *random) optimizer(x graph.Value) {
	st := func(n string) graph.Value { return r.b.State(r.name(n), graph.F32) }
	g := ops.Sum(x)
	clip := ops.ClipOp.Emit(ops.ClipAttrs{Max: 1}, ops.SqSumOp.One(graph.None{}, g), ops.SqSumOp.One(graph.None{}, x))
	hyper := r.b.Const(graph.FromF32([]float32{1e-3, 0.1, 0.5, 0.5}, 4))
	ops.AdamWOp.Emit(ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, st("p"), g, st("m"), st("v"), hyper, clip[0])
	r.outs = append(r.outs, clip[1])
}

// constant adds constants of every printed form.
func (r *random) constant(x graph.Value) graph.Value {
	bits := rapid.SliceOfN(rapid.Uint32(), 4, 4).Draw(r.t, "bits")
	f := graph.NewTensor(graph.F32, 2, 2)
	for i, u := range bits {
		f.F32()[i] = math.Float32frombits(u)
	}
	f.F32()[3] = rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, 1e-45}).Draw(r.t, "special")
	h := graph.NewTensor(graph.BF16, 3)
	h.U16()[1] = uint16(bits[0])
	for _, c := range []graph.Tensor{f, h, graph.FromI32([]int32{-1, math.MaxInt32}, 2), graph.NewTensor(graph.I8, 0), graph.NewTensor(graph.F32, 0)} {
		r.outs = append(r.outs, r.b.Const(c))
	}
	return ops.Mul(x, ops.Sum(r.b.Const(f)))
}
