package bitlinear_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/internal/opcheck"
	"github.com/trit-ml/trit/ops/ternary"
)

// rows is the number of tokens in the cases below; no other extent equals it.
const rows = 7

func TestAllListsEveryOp(t *testing.T) { opcheck.Listed(t, bitlinear.All(), nil) }

func TestOps(t *testing.T) { opcheck.Run(t, bitlinear.All(), cases()) }

func cases() map[string][]opcheck.Case {
	r := rand.New(rand.NewPCG(8, 5))
	f := func(dims ...int) graph.Tensor { return opcheck.Normal(r, dims...) }
	i32 := func(vals ...int32) graph.Tensor { return graph.FromI32(vals, len(vals)) }
	const k, n, m = 10, 4, 3
	codes := func() graph.Tensor { return opcheck.Codes(r, graph.I8, -127, 127, rows, k) }
	scales := func() graph.Tensor {
		s := f(rows, 1)
		for i, v := range s.F32() {
			s.F32()[i] = 50 + 10*v
		}
		return s
	}
	weight := func(n int) graph.Tensor { return opcheck.Codes(r, graph.Tern, -1, 1, n, k) }
	gamma := func() graph.Tensor { return graph.FromF32([]float32{0.01 + r.Float32()}) }
	norm := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	none, narrow := graph.None{}, ops.CastAttrs{To: "bf16"}
	half := func(t graph.Tensor) graph.Tensor {
		h := graph.NewTensor(graph.BF16, t.Dims...)
		for i, v := range t.F32() {
			h.U16()[i] = graph.F32ToBF16(v)
		}
		return h
	}
	seq, pos := i32(0, 1, 0, 2, 1, 0, 1), i32(2, 0, 0, 5, 8, 1, 1)
	table := graph.FromI32([]int32{4, 1, 0, 2, 5, 3, 4, 3, 0}, 3, 3)
	cache := func() graph.Tensor {
		c := graph.NewTensor(graph.F16, 6, 3, 8)
		for i := range c.U16() {
			c.U16()[i] = graph.F32ToF16(float32(r.NormFloat64()))
		}
		return c
	}
	return map[string][]opcheck.Case{
		"bitlinear": {{Attrs: bitlinear.Default, In: []graph.Tensor{f(rows, k), f(n, k)}, Sym: rows}},
		"rescale": {{
			Attrs: none, In: []graph.Tensor{opcheck.Ints(r, 10000, rows, n), scales(), gamma()}, Sym: rows,
		}},
		"fused.subln_quant":           {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(k)}, Sym: rows}},
		"fused.relu2_glu":             {{Attrs: none, In: []graph.Tensor{f(rows, k), f(rows, k)}, Sym: rows}},
		"fused.relu2_glu_subln_quant": {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(rows, k), f(k)}, Sym: rows}},
		"fused.relu2_glu_down":        {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(rows, k), f(k), weight(n), gamma(), f(rows, n)}, Sym: rows}},
		"fused.relu2_mlp":             {{Attrs: norm, In: []graph.Tensor{codes(), scales(), weight(n), gamma(), weight(n), gamma(), f(n), opcheck.Codes(r, graph.Tern, -1, 1, m, n), gamma(), f(rows, m)}, Sym: rows}},
		"fused.norm_glu":              {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(k), weight(n), gamma(), weight(n), gamma()}, Sym: rows}},
		"fused.norm_bitlinear3":       {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(k), weight(n), gamma(), weight(m), gamma(), weight(5), gamma()}, Sym: rows}},
		"fused.norm_bitlinear_add":    {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(k), weight(n), gamma(), f(rows, n)}, Sym: rows}},
		"fused.bitlinear":             {{Attrs: none, In: []graph.Tensor{codes(), scales(), weight(n), gamma()}, Sym: rows}},
		"fused.bitlinear_add":         {{Attrs: none, In: []graph.Tensor{codes(), scales(), weight(n), gamma(), f(rows, n)}, Sym: rows}},
		"fused.bitlinear2":            {{Attrs: none, In: []graph.Tensor{codes(), scales(), weight(n), gamma(), weight(m), gamma()}, Sym: rows}},
		"fused.bitlinear3":            {{Attrs: none, In: []graph.Tensor{codes(), scales(), weight(n), gamma(), weight(m), gamma(), weight(5), gamma()}, Sym: rows}},
		"fused.bitlinear_cast":        {{Attrs: narrow, In: []graph.Tensor{codes(), scales(), weight(n), gamma()}, Sym: rows}},
		"fused.bitlinear_cast_add":    {{Attrs: narrow, In: []graph.Tensor{codes(), scales(), weight(n), gamma(), half(f(rows, n))}, Sym: rows}},
		"fused.dequant_cast":          {{Attrs: narrow, In: []graph.Tensor{codes(), scales()}, Sym: rows}},
		"fused.ternary_dequant_cast":  {{Attrs: narrow, In: []graph.Tensor{weight(n), gamma()}}},
		"fused.ternary_fake_cast": {
			{Attrs: bitlinear.FakeCastAttrs{Scale: "absmean", To: "bf16"}, In: []graph.Tensor{f(n, k)}},
			{Attrs: bitlinear.FakeCastAttrs{Scale: "absmean", Group: 5, To: "bf16"}, In: []graph.Tensor{f(n, k)}},
		},
		"fused.embedding_cast":       {{Attrs: narrow, In: []graph.Tensor{f(12, k), opcheck.Ints(r, 12, rows)}, Sym: rows}},
		"fused.relu2_glu_subln_fake": {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(rows, k), f(k)}, Sym: rows}},
		"fused.relu2_glu_subln_grad": {{
			Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, k), f(rows, k), f(k), f(rows, k)}, Sym: rows,
		}},
		"fused.subln_fake": {{Attrs: norm, In: []graph.Tensor{f(rows, k), f(k)}, Sym: rows}},
		"fused.rmsnorm_grad_sum2_add": {{
			Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, k), f(k), f(rows, k), f(rows, k), f(rows, k)}, Sym: rows,
		}},
		"fused.rmsnorm_grad_sum3_add": {{
			Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, k), f(k), f(rows, k), f(rows, k), f(rows, k), f(rows, k)}, Sym: rows,
		}},
		"fused.rmsnorm_grad_add": {{
			Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, k), f(k), f(rows, k), f(rows, k)}, Sym: rows,
		}},
		"fused.rope_attend": {{
			Attrs: bitlinear.RoPEAttendAttrs{Theta: 5e5, HeadDim: 4, Heads: 4, KVHeads: 2, Window: 3},
			In:    []graph.Tensor{cache(), cache(), f(rows, 16), f(rows, 8), f(rows, 8), seq, pos, table}, Sym: rows,
		}},
		"fused.rope_append": {{
			Attrs: bitlinear.RoPEAppendAttrs{Theta: 5e5, HeadDim: 4},
			In:    []graph.Tensor{cache(), cache(), f(rows, 16), f(rows, 8), f(rows, 8), seq, pos, table}, Sym: rows,
		}},
	}
}

// primitives spells every fused op out by hand, with the wrappers that a model
// uses: a second source for the meaning that its body declares.
var primitives = map[string]func(attrs any, in []graph.Value) []graph.Value{
	"fused.subln_quant": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.NormQuantAttrs)
		q, s := ops.QuantAct(ops.RMSNorm(in[0], in[1], a.Eps), ops.Int8)
		return []graph.Value{q, s}
	},
	"fused.relu2_glu": func(_ any, in []graph.Value) []graph.Value {
		return []graph.Value{ops.Mul(ops.ReLU2(in[0]), in[1])}
	},
	"fused.relu2_glu_subln_quant": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.NormQuantAttrs)
		q, s := ops.QuantAct(ops.RMSNorm(ops.Mul(ops.ReLU2(in[0]), in[1]), in[2], a.Eps), ops.Int8)
		return []graph.Value{q, s}
	},
	"fused.relu2_glu_down": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.NormQuantAttrs)
		q, s := ops.QuantAct(ops.RMSNorm(ops.Mul(ops.ReLU2(in[0]), in[1]), in[2], a.Eps), ops.Int8)
		return []graph.Value{ops.Add(intLinear([]graph.Value{q, s, in[3], in[4]}, 2)[0], in[5])}
	},
	"fused.relu2_mlp": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.NormQuantAttrs)
		gate, up := intLinear(in, 2)[0], intLinear(in, 4)[0]
		q, s := ops.QuantAct(ops.RMSNorm(ops.Mul(ops.ReLU2(gate), up), in[6], a.Eps), ops.Int8)
		return []graph.Value{ops.Add(intLinear([]graph.Value{q, s, in[7], in[8]}, 2)[0], in[9])}
	},
	"fused.norm_glu": func(attrs any, in []graph.Value) []graph.Value {
		y := intLinear2(codes(attrs, in), 2, 4)
		return []graph.Value{ops.Mul(ops.ReLU2(y[0]), y[1])}
	},
	"fused.norm_bitlinear3": func(attrs any, in []graph.Value) []graph.Value {
		in = codes(attrs, in)
		return append(intLinear2(in, 2, 4), intLinear(in, 6)...)
	},
	"fused.norm_bitlinear_add": func(attrs any, in []graph.Value) []graph.Value {
		return []graph.Value{ops.Add(intLinear(codes(attrs, in), 2)[0], in[4])}
	},
	"fused.bitlinear": func(_ any, in []graph.Value) []graph.Value { return intLinear(in, 2) },
	"fused.bitlinear_add": func(_ any, in []graph.Value) []graph.Value {
		return []graph.Value{ops.Add(intLinear(in, 2)[0], in[4])}
	},
	"fused.bitlinear2": func(_ any, in []graph.Value) []graph.Value {
		return append(intLinear(in, 2), intLinear(in, 4)...)
	},
	"fused.bitlinear3": func(_ any, in []graph.Value) []graph.Value {
		return append(append(intLinear(in, 2), intLinear(in, 4)...), intLinear(in, 6)...)
	},
	"fused.relu2_glu_subln_fake": func(attrs any, in []graph.Value) []graph.Value {
		m := ops.Mul(ops.ReLU2(in[0]), in[1])
		return []graph.Value{ops.FakeQuant(ops.RMSNorm(m, in[2], attrs.(bitlinear.NormQuantAttrs).Eps), ops.Int8)}
	},
	"fused.relu2_glu_subln_grad": func(attrs any, in []graph.Value) []graph.Value {
		r := ops.ReLU2(in[0])
		out := ops.RMSNormGradOp.Emit(attrs.(ops.NormAttrs), ops.Mul(r, in[1]), in[2], in[3])
		dgate := ops.ReLU2GradOp.One(graph.None{}, in[0], ops.Mul(out[0], in[1]))
		return []graph.Value{dgate, ops.Mul(out[0], r), out[1]}
	},
	"fused.subln_fake": func(attrs any, in []graph.Value) []graph.Value {
		return []graph.Value{ops.FakeQuant(ops.RMSNorm(in[0], in[1], attrs.(bitlinear.NormQuantAttrs).Eps), ops.Int8)}
	},
	"fused.rmsnorm_grad_sum2_add": func(attrs any, in []graph.Value) []graph.Value {
		out := ops.RMSNormGradOp.Emit(attrs.(ops.NormAttrs), in[0], in[1], ops.Add(in[2], in[3]))
		return []graph.Value{ops.Add(out[0], in[4]), out[1]}
	},
	"fused.rmsnorm_grad_sum3_add": func(attrs any, in []graph.Value) []graph.Value {
		out := ops.RMSNormGradOp.Emit(attrs.(ops.NormAttrs), in[0], in[1], ops.Add(ops.Add(in[2], in[3]), in[4]))
		return []graph.Value{ops.Add(out[0], in[5]), out[1]}
	},
	"fused.rmsnorm_grad_add": func(attrs any, in []graph.Value) []graph.Value {
		out := ops.RMSNormGradOp.Emit(attrs.(ops.NormAttrs), in[0], in[1], in[2])
		return []graph.Value{ops.Add(out[0], in[3]), out[1]}
	},
	"fused.rope_attend": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.RoPEAttendAttrs)
		q := ops.RoPE(in[2], in[6], a.Theta, a.HeadDim)
		k := ops.RoPE(in[3], in[6], a.Theta, a.HeadDim)
		kv := ops.KVAppendOp.Emit(graph.None{}, in[0], in[1], k, in[4], in[5], in[6], in[7])
		return append(ops.CachedAttentionOp.Emit(a.Attention(), q, kv[0], kv[1], in[5], in[6], in[7]), kv...)
	},
	"fused.rope_append": func(attrs any, in []graph.Value) []graph.Value {
		a := attrs.(bitlinear.RoPEAppendAttrs)
		q := ops.RoPE(in[2], in[6], a.Theta, a.HeadDim)
		k := ops.RoPE(in[3], in[6], a.Theta, a.HeadDim)
		return append([]graph.Value{q}, ops.KVAppendOp.Emit(graph.None{}, in[0], in[1], k, in[4], in[5], in[6], in[7])...)
	},
}

// narrowed are the primitives of the ops that end in a cast.
var narrowed = map[string]func(attrs any, in []graph.Value) graph.Value{
	"fused.bitlinear_cast": func(_ any, in []graph.Value) graph.Value { return intLinear(in, 2)[0] },
	"fused.dequant_cast":   func(_ any, in []graph.Value) graph.Value { return ops.Dequant(in[0], in[1]) },
	"fused.ternary_dequant_cast": func(_ any, in []graph.Value) graph.Value {
		return ternary.Dequant(in[0], in[1])
	},
	"fused.ternary_fake_cast": func(attrs any, in []graph.Value) graph.Value {
		a := attrs.(bitlinear.FakeCastAttrs)
		return ternary.FakeOp.One(ternary.ScaleAttrs{Scale: a.Scale, Group: a.Group}, in[0])
	},
	"fused.embedding_cast": func(_ any, in []graph.Value) graph.Value { return ops.Embedding(in[0], in[1]) },
}

// byHand is the sequence of primitives that a fused op stands for.
func byHand(name string) func(attrs any, in []graph.Value) []graph.Value {
	if f := narrowed[name]; f != nil {
		return func(attrs any, in []graph.Value) []graph.Value {
			return []graph.Value{ops.Cast(f(attrs, in), graph.BF16)}
		}
	}
	if name == "fused.bitlinear_cast_add" {
		return func(attrs any, in []graph.Value) []graph.Value {
			return []graph.Value{ops.Add(byHand("fused.bitlinear_cast")(attrs, in)[0], in[4])}
		}
	}
	return primitives[name]
}

// codes are the operands with x and g of a norm replaced by codes and scales.
func codes(attrs any, in []graph.Value) []graph.Value {
	q, s := ops.QuantAct(ops.RMSNorm(in[0], in[1], attrs.(bitlinear.NormQuantAttrs).Eps), ops.Int8)
	return append([]graph.Value{q, s}, in[2:]...)
}

func intLinear2(in []graph.Value, a, b int) []graph.Value {
	return append(intLinear(in, a), intLinear(in, b)...)
}

func intLinear(in []graph.Value, w int) []graph.Value {
	return []graph.Value{bitlinear.Rescale(ternary.MatMul(in[0], in[w]), in[1], in[w+1])}
}

// TestFusedOpsAreTheirPrimitives evaluates each fused op, its inlined body and
// the sequence of primitives above in graphs, and demands equal bytes of all
// results and final states.
func TestFusedOpsAreTheirPrimitives(t *testing.T) {
	cs := cases()
	for _, op := range slices.Concat(bitlinear.Fused(), bitlinear.Normed(), bitlinear.Casts(), bitlinear.FusedTraining()) {
		t.Run(op.Name, func(t *testing.T) {
			byHand := byHand(op.Name)
			if byHand == nil {
				t.Fatal("no sequence of primitives to compare with")
			}
			for _, c := range cs[op.Name] {
				want := evaluate(t, op, c, func(_ *graph.Builder, in []graph.Value) []graph.Value { return byHand(c.Attrs, in) })
				fused := evaluate(t, op, c, func(b *graph.Builder, in []graph.Value) []graph.Value { return b.Emit(op, c.Attrs, in...) })
				inlined := evaluate(t, op, c, func(b *graph.Builder, in []graph.Value) []graph.Value {
					out, err := op.Inline(b, c.Attrs, in)
					if err != nil {
						t.Fatal(err)
					}
					return out
				})
				compare(t, "fused", want, fused)
				compare(t, "inlined", want, inlined)
				if len(want.States) != len(op.Updates) {
					t.Errorf("%d states for %d updates", len(want.States), len(op.Updates))
				}
			}
		})
	}
}

func evaluate(t *testing.T, op *graph.OpDef, c opcheck.Case, emit func(b *graph.Builder, in []graph.Value) []graph.Value) *graph.Result {
	t.Helper()
	b := graph.NewBuilder("g")
	env := graph.Env{Params: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
	in := make([]graph.Value, len(c.In))
	for i, x := range c.In {
		name := fmt.Sprintf("in%d", i)
		if slices.ContainsFunc(op.Updates, func(u graph.Update) bool { return u.In == i }) {
			in[i] = b.State(name, x.Elem, graph.Dims(x.Dims...)...)
			env.States[name] = x
		} else {
			in[i] = b.Param(name, x.Elem, x.Dims...)
			env.Params[name] = x
		}
	}
	g, err := b.Finish(emit(b, in)...)
	if err != nil {
		t.Fatal(err)
	}
	res, err := graph.Eval(g, env)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func compare(t *testing.T, what string, want, got *graph.Result) {
	t.Helper()
	if len(want.Outs) != len(got.Outs) {
		t.Fatalf("%s: %d results, want %d", what, len(got.Outs), len(want.Outs))
	}
	for i := range want.Outs {
		if !want.Outs[i].Type().Equal(got.Outs[i].Type()) || !bytes.Equal(want.Outs[i].Data, got.Outs[i].Data) {
			t.Errorf("%s: result %d differs", what, i)
		}
	}
	for name, s := range want.States {
		if !bytes.Equal(s.Data, got.States[name].Data) {
			t.Errorf("%s: state %s differs", what, name)
		}
	}
}

func units(t *testing.T) func(name string) graph.Tensor {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, "units.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(name string) graph.Tensor {
		t.Helper()
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Dims) == 3 {
			x.Dims = []int{x.Dims[0] * x.Dims[1], x.Dims[2]}
		}
		return x
	}
}

// worst is the largest difference relative to the largest wanted value.
func worst(want, got []float32) float64 {
	var most, diff float64
	for i := range want {
		most = max(most, math.Abs(float64(want[i])))
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= diff) {
			diff = d
		}
	}
	return diff / most
}

// TestGoldenBitLinear compares the training form with the reference, forward
// and backward with straight-through gradients, and the integer form with the
// same outputs.
func TestGoldenBitLinear(t *testing.T) {
	u := units(t)
	x, w, dy := u("bitlinear.x"), u("bitlinear.w"), u("bitlinear.dy")
	b := graph.NewBuilder("g")
	param := func(name string, v graph.Tensor) graph.Value { return b.Param(name, v.Elem, v.Dims...) }
	xv, wv, dyv := param("x", x), param("w", w), param("dy", dy)
	y, err := bitlinear.Op.Inline(b, bitlinear.Default, []graph.Value{xv, wv})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := graph.Gradients(b, ops.Sum(ops.Mul(y[0], dyv)), []graph.Value{xv, wv}, ops.Add)
	if err != nil {
		t.Fatal(err)
	}
	q, s := ops.QuantAct(xv, ops.Int8)
	codes, gamma := ternary.Quantize(wv)
	integer := bitlinear.Rescale(ternary.MatMul(q, codes), s, gamma)

	// The declared surrogate: both quantizers are the identity backwards, so
	// the gradients are those of a matmul of the quantized operands.
	wantDX := ops.MatMul(dyv, ternary.Fake(wv), false, false)
	wantDW := ops.MatMul(dyv, ops.FakeQuant(xv, ops.Int8), true, false)

	g, err := b.Finish(y[0], bitlinear.Linear(xv, wv), ds[0], ds[1], integer, wantDX, wantDW)
	if err != nil {
		t.Fatal(err)
	}
	res, err := graph.Eval(g, graph.Env{Params: map[string]graph.Tensor{"x": x, "w": w, "dy": dy}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		want, got graph.Tensor
		tol       float64
	}{
		{"y", u("bitlinear.y"), res.Outs[0], 5e-7},
		{"y of the fused op", res.Outs[0], res.Outs[1], 0},
		{"dx", u("bitlinear.dx"), res.Outs[2], 5e-7},
		{"dw", u("bitlinear.dw"), res.Outs[3], 5e-7},
		{"y of the integer form", u("bitlinear.y"), res.Outs[4], 5e-7},
		{"dx against the surrogate", res.Outs[5], res.Outs[2], 0},
		{"dw against the surrogate", res.Outs[6], res.Outs[3], 0},
	} {
		d := worst(c.want.F32(), c.got.F32())
		t.Logf("%s: off by %.2g of the largest value", c.name, d)
		if !(d <= c.tol) {
			t.Errorf("%s: off by %.3g of the largest value, want %g", c.name, d, c.tol)
		}
	}
}

// TestIntegerFormIsTheTrainingForm compares both forms on random operands of
// odd shapes; they differ by rounding only.
func TestIntegerFormIsTheTrainingForm(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 41))
	for range 20 {
		s, k, n := 1+r.IntN(9), 1+r.IntN(300), 1+r.IntN(20)
		b := graph.NewBuilder("g")
		x, w := b.Input("x", graph.F32, graph.C(s), graph.C(k)), b.Param("w", graph.F32, n, k)
		q, scale := ops.QuantAct(x, ops.Int8)
		codes, gamma := ternary.Quantize(w)
		g, err := b.Finish(bitlinear.Linear(x, w), bitlinear.Rescale(ternary.MatMul(q, codes), scale, gamma))
		if err != nil {
			t.Fatal(err)
		}
		res, err := graph.Eval(g, graph.Env{
			Inputs: map[string]graph.Tensor{"x": opcheck.Normal(r, s, k)},
			Params: map[string]graph.Tensor{"w": opcheck.Normal(r, n, k)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(res.Outs[0].F32(), res.Outs[1].F32()); !(d <= 5e-7) {
			t.Errorf("[%d,%d]x[%d,%d]: off by %.2g", s, k, n, k, d)
		}
	}
}
