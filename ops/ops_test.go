package ops_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

// rows is the number of tokens in the cases below; no other extent equals it.
const rows = 7

func TestAllListsEveryOp(t *testing.T) {
	opcheck.Listed(t, ops.All(), map[string]func(string) []string{
		"unary": func(name string) []string { return []string{name, name + ".grad"} },
	})
}

func TestOps(t *testing.T) { opcheck.Run(t, ops.All(), cases()) }

// cast returns t rounded to a half type.
func cast(t graph.Tensor, elem graph.DType) graph.Tensor {
	out := graph.NewTensor(elem, t.Dims...)
	for i, v := range t.F32() {
		if elem == graph.BF16 {
			out.U16()[i] = graph.F32ToBF16(v)
		} else {
			out.U16()[i] = graph.F32ToF16(v)
		}
	}
	return out
}

func positive(t graph.Tensor) graph.Tensor {
	for i, v := range t.F32() {
		t.F32()[i] = float32(math.Abs(float64(v))) + 0.1
	}
	return t
}

func cases() map[string][]opcheck.Case {
	r := rand.New(rand.NewPCG(20, 26))
	f := func(dims ...int) graph.Tensor { return opcheck.Normal(r, dims...) }
	i32 := func(vals ...int32) graph.Tensor { return graph.FromI32(vals, len(vals)) }
	none := graph.None{}

	// Three sequences, their tokens interleaved and out of order.
	seq, pos := i32(0, 1, 0, 2, 1, 0, 1), i32(2, 0, 0, 5, 7, 1, 1)
	gqa := ops.AttentionAttrs{Heads: 4, KVHeads: 2}
	mqa := ops.AttentionAttrs{Heads: 3, KVHeads: 1, Window: 2}
	attn := func(a ops.AttentionAttrs, hd int) []graph.Tensor {
		return []graph.Tensor{f(rows, a.Heads*hd), f(rows, a.KVHeads*hd), f(rows, a.KVHeads*hd), seq, pos}
	}
	attnGrad := func(a ops.AttentionAttrs, hd int) []graph.Tensor {
		q := attn(a, hd)
		o, lse := graph.NewTensor(graph.F32, q[0].Dims...), graph.NewTensor(graph.F32, rows, a.Heads)
		if err := ops.AttentionOp.Run(a, q, []graph.Tensor{o, lse}); err != nil {
			panic(err)
		}
		return []graph.Tensor{q[0], q[1], q[2], o, lse, f(q[0].Dims...), seq, pos}
	}
	// The batch's rows before these are no whole number of eights.
	dropping := func(a ops.AttentionAttrs) ops.AttentionDropoutAttrs {
		return ops.AttentionDropoutAttrs{Heads: a.Heads, KVHeads: a.KVHeads, Window: a.Window, P: 0.4, Seed: 1 << 40, Stream: 3}
	}
	attnDrop := func(a ops.AttentionAttrs, hd int) []graph.Tensor {
		q := attn(a, hd)
		return []graph.Tensor{q[0], q[1], q[2], i32(4, 13), seq, pos}
	}
	attnDropGrad := func(a ops.AttentionAttrs, hd int) []graph.Tensor {
		q := attnDrop(a, hd)
		o, lse := graph.NewTensor(graph.F32, q[0].Dims...), graph.NewTensor(graph.F32, rows, a.Heads)
		if err := ops.AttentionDropoutOp.Run(dropping(a), q, []graph.Tensor{o, lse}); err != nil {
			panic(err)
		}
		return []graph.Tensor{q[0], q[1], q[2], o, lse, f(q[0].Dims...), q[3], seq, pos}
	}
	// Blocks of 3 positions; sequence 2 shares its first block with sequence 0.
	table := graph.FromI32([]int32{4, 1, 0, 2, 5, 3, 4, 3, 0}, 3, 3)
	cached := func(a ops.AttentionAttrs, hd int, elem graph.DType) []graph.Tensor {
		kc, vc := f(6, 3, a.KVHeads*hd), f(6, 3, a.KVHeads*hd)
		if elem != graph.F32 {
			kc, vc = cast(kc, elem), cast(vc, elem)
		}
		return []graph.Tensor{f(rows, a.Heads*hd), kc, vc, seq, pos, table}
	}
	appended := func(elem graph.DType) []graph.Tensor {
		kc, vc := f(6, 3, 5), f(6, 3, 5)
		if elem != graph.F32 {
			kc, vc = cast(kc, elem), cast(vc, elem)
		}
		return []graph.Tensor{kc, vc, f(rows, 5), f(rows, 5), seq, pos, table}
	}
	codes := func(w, heads int) []graph.Tensor { // keys, their steps, values, their steps
		var ts []graph.Tensor
		for range 2 {
			c, s := graph.NewTensor(graph.I8, 6, 4, w), f(6, 4, heads)
			for i := range c.I8() {
				c.I8()[i] = int8(i*37%255 - 127)
			}
			for i, v := range s.F32() {
				s.F32()[i] = float32(math.Abs(float64(v))) / 100
			}
			ts = append(ts, c, s)
		}
		return ts
	}
	targets := i32(3, 10, -100, 0, -100, 3, 5)
	ignore := ops.IgnoreAttrs{Ignore: -100}
	lse := func(logits graph.Tensor) graph.Tensor {
		loss, lse := graph.NewTensor(graph.F32), graph.NewTensor(graph.F32, rows)
		if err := ops.CrossEntropyOp.Run(ignore, []graph.Tensor{logits, targets}, []graph.Tensor{loss, lse}); err != nil {
			panic(err)
		}
		return lse
	}
	logits := f(rows, 11)
	distill, relation := ops.DistillAttrs{Temperature: 2, Ignore: -100}, ops.RelationAttrs{Heads: 2}
	// gradOf is the operands of a divergence's gradient.
	gradOf := func(op *graph.OpDef, attrs any, in ...graph.Tensor) []graph.Tensor {
		var types []graph.Type
		for _, t := range in {
			types = append(types, t.Type())
		}
		outs, err := op.InferTypes(attrs, types)
		if err != nil {
			panic(err)
		}
		var made []graph.Tensor
		for _, t := range outs {
			dims, _ := t.Shape.Eval(nil)
			made = append(made, graph.NewTensor(t.Elem, dims...))
		}
		if err := op.Run(attrs, in, made); err != nil {
			panic(err)
		}
		return append(append(in, made[1:]...), graph.FromF32([]float32{1}))
	}
	hyper := graph.FromF32([]float32{0.01, 0.1, 0.1, 0.3}, 4)
	adam := ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1}
	scalar := func(v float32) graph.Tensor { return graph.FromF32([]float32{v}) }
	unary := func(dims ...int) []opcheck.Case {
		return []opcheck.Case{{In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}}, {Name: "scalar", In: []graph.Tensor{scalar(0.3)}, Wrt: []int{0}}}
	}
	unaryGrad := []opcheck.Case{{In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows}}
	matmul := func(ta, tb bool) opcheck.Case {
		a, b := f(rows, 5), f(5, 3)
		if ta {
			a = f(5, rows)
		}
		if tb {
			b = f(3, 5)
		}
		return opcheck.Case{Attrs: ops.MatMulAttrs{TA: ta, TB: tb}, In: []graph.Tensor{a, b}, Wrt: []int{0, 1}}
	}
	plain := matmul(false, false)
	plain.Sym = rows

	cs := map[string][]opcheck.Case{
		"add": {
			{In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "scalar", In: []graph.Tensor{f(rows, 5), scalar(2)}, Sym: rows, Wrt: []int{0, 1}},
		},
		"mul": {
			{In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "scalar", In: []graph.Tensor{f(rows, 5), scalar(2)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "scalars", In: []graph.Tensor{scalar(-3), scalar(2)}, Wrt: []int{0, 1}},
		},
		"scale": {{Attrs: ops.ScaleAttrs{By: -0.3}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}}},
		"sum":   {{In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}}},
		"fill":  {{In: []graph.Tensor{scalar(3), f(rows, 5)}, Sym: rows}},
		"cast": {
			{Name: "to itself", Attrs: ops.CastAttrs{To: "f32"}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Through: []int{0}},
			{Name: "narrow", Attrs: ops.CastAttrs{To: "bf16"}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Through: []int{0}},
			{Name: "widen", Attrs: ops.CastAttrs{To: "f32"}, In: []graph.Tensor{cast(f(rows, 5), graph.F16)}, Sym: rows, Through: []int{0}},
		},
		"dropout": {{Attrs: ops.DropoutAttrs{P: 0.3, Seed: 1 << 40, Stream: 2}, In: []graph.Tensor{opcheck.Normal(rand.New(rand.NewPCG(1, 1)), rows, 19), i32(4, 9)}, Sym: rows, Wrt: []int{0}}},
		"relu2":   unary(), "relu2.grad": unaryGrad,
		"silu": unary(), "silu.grad": unaryGrad,
		"gelu": unary(), "gelu.grad": unaryGrad,
		"embedding": {
			{In: []graph.Tensor{f(6, 5), i32(5, 0, 5, 2, 2, 2, 1)}, Sym: rows, Wrt: []int{0}},
			{Name: "bf16", In: []graph.Tensor{cast(f(6, 5), graph.BF16), i32(5, 0, 5, 2, 2, 2, 1)}, Sym: rows, Wrt: []int{0}},
		},
		"embedding.grad": {{Attrs: ops.EmbeddingGradAttrs{Rows: 6}, In: []graph.Tensor{i32(5, 0, 5, 2, 2, 2, 1), f(rows, 5)}, Sym: rows}},
		"rows":           {{In: []graph.Tensor{f(rows, 5), i32(6, 0, 6)}, Sym: rows, NotEmpty: true}},
		"rmsnorm": {
			{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, 5), f(5)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "rank 3, one wide", Attrs: ops.NormAttrs{Eps: 0.5}, In: []graph.Tensor{f(2, 3, 1), f(1)}, Wrt: []int{0, 1}},
		},
		"rmsnorm.grad": {{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{f(rows, 5), f(5), f(rows, 5)}, Sym: rows}},
		"matmul": {
			plain, matmul(false, true), matmul(true, false), matmul(true, true),
			{Name: "bf16 weight", Attrs: ops.MatMulAttrs{TB: true}, In: []graph.Tensor{f(rows, 5), cast(f(3, 5), graph.BF16)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "f16 weight, a transposed", Attrs: ops.MatMulAttrs{TA: true}, In: []graph.Tensor{f(5, rows), cast(f(5, 3), graph.F16)}, Wrt: []int{0, 1}},
		},
		"rope": {
			{Attrs: ops.RoPEAttrs{Theta: 1e4, HeadDim: 6}, In: []graph.Tensor{f(rows, 12), pos}, Sym: rows, Wrt: []int{0}},
			{Name: "inverse", Attrs: ops.RoPEAttrs{Theta: 5e5, HeadDim: 4, Inverse: true}, In: []graph.Tensor{f(rows, 4), pos}, Sym: rows, Wrt: []int{0}},
		},
		"attention": {
			{Name: "grouped", Attrs: gqa, In: attn(gqa, 3), Sym: rows, Wrt: []int{0, 1, 2}},
			{Name: "one kv head, window", Attrs: mqa, In: attn(mqa, 5), Sym: rows, Wrt: []int{0, 1, 2}},
		},
		"attention.grad": {
			{Name: "grouped", Attrs: gqa, In: attnGrad(gqa, 3), Sym: rows},
			{Name: "one kv head, window", Attrs: mqa, In: attnGrad(mqa, 5), Sym: rows},
		},
		"attention.dropout": {
			{Name: "grouped", Attrs: dropping(gqa), In: attnDrop(gqa, 3), Sym: rows, Wrt: []int{0, 1, 2}},
			{Name: "one kv head, window", Attrs: dropping(mqa), In: attnDrop(mqa, 5), Sym: rows, Wrt: []int{0, 1, 2}},
		},
		"attention.dropout.grad": {
			{Name: "grouped", Attrs: dropping(gqa), In: attnDropGrad(gqa, 3), Sym: rows},
			{Name: "one kv head, window", Attrs: dropping(mqa), In: attnDropGrad(mqa, 5), Sym: rows},
		},
		"attention.cached": {
			{Name: "grouped", Attrs: gqa, In: cached(gqa, 5, graph.F32), Sym: rows},
			{Name: "one kv head, window, f16", Attrs: mqa, In: cached(mqa, 5, graph.F16), Sym: rows},
		},
		"kv.append": {
			{In: appended(graph.F32), Sym: rows},
			{Name: "bf16", In: appended(graph.BF16), Sym: rows},
			{Name: "f16", In: appended(graph.F16), Sym: rows},
		},
		"attention.cached.i8": {
			{Name: "grouped", Attrs: gqa, In: append(append([]graph.Tensor{f(rows, gqa.Heads*8)}, codes(gqa.KVHeads*8, gqa.KVHeads)...), seq, pos, table), Sym: rows},
			{Name: "one kv head, window", Attrs: mqa, In: append(append([]graph.Tensor{f(rows, mqa.Heads*4)}, codes(mqa.KVHeads*4, mqa.KVHeads)...), seq, pos, table), Sym: rows},
		},
		"kv.append.i8":       {{In: append(codes(72, 2), f(rows, 72), f(rows, 72), seq, pos, table), Sym: rows}},
		"softmax":            {{In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}}},
		"softmax.grad":       {{In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows}},
		"cross_entropy":      {{Attrs: ignore, In: []graph.Tensor{logits, targets}, Sym: rows, Wrt: []int{0}}},
		"cross_entropy.grad": {{Attrs: ignore, In: []graph.Tensor{logits, targets, lse(logits), scalar(1)}, Sym: rows}},
		"distill": {
			{Attrs: distill, In: []graph.Tensor{logits, f(rows, 11), targets}, Sym: rows, Wrt: []int{0}},
			{Name: "warm", Attrs: ops.DistillAttrs{Temperature: 5, Ignore: -100}, In: []graph.Tensor{logits, f(rows, 11), targets}, Sym: rows, Wrt: []int{0}},
		},
		"distill.grad":  {{Attrs: distill, In: gradOf(ops.DistillOp.OpDef, distill, logits, f(rows, 11), targets), Sym: rows}},
		"relation":      {{Attrs: relation, In: []graph.Tensor{f(rows, 6), f(rows, 8), seq}, Sym: rows, Wrt: []int{0}}},
		"relation.grad": {{Attrs: relation, In: gradOf(ops.RelationOp.OpDef, relation, f(rows, 6), f(rows, 8), seq), Sym: rows}},
		"sqsum":         {{In: []graph.Tensor{f(rows, 5)}, Sym: rows}},
		"clip": {
			{Name: "clips", Attrs: ops.ClipAttrs{Max: 1}, In: []graph.Tensor{scalar(4), scalar(5), scalar(0)}},
			{Name: "off", In: []graph.Tensor{scalar(4)}},
		},
		"clip.grads": {
			{Attrs: ops.ClipAttrs{Max: 1}, In: []graph.Tensor{f(5, 3), f(7)}},
		},
		"fused.adamw_cast": {
			{Attrs: adam, In: []graph.Tensor{f(5, 3), cast(f(5, 3), graph.BF16), f(5, 3), positive(f(5, 3)), hyper, scalar(0.5)}},
		},
		"adamw": {
			{Attrs: adam, In: []graph.Tensor{f(5, 3), f(5, 3), f(5, 3), positive(f(5, 3)), hyper, scalar(0.5)}},
			{Name: "first step", Attrs: adam, In: []graph.Tensor{f(5, 3), f(5, 3), graph.NewTensor(graph.F32, 5, 3), graph.NewTensor(graph.F32, 5, 3), hyper, scalar(1)}},
		},
		"accumulate": {
			{In: []graph.Tensor{f(rows, 5), f(rows, 5), scalar(0)}, Sym: rows},
			{Name: "first", In: []graph.Tensor{f(rows, 5), f(rows, 5), scalar(1)}, Sym: rows},
		},
		"ema": {{Attrs: ops.EMAAttrs{Decay: 0.9}, In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows}},
		"quant.blend": {
			{In: []graph.Tensor{f(rows, 5), f(rows, 5), scalar(0.3)}, Sym: rows, Through: []int{0}},
			{Name: "whole", In: []graph.Tensor{f(rows, 5), f(rows, 5), scalar(1)}, Sym: rows, Through: []int{0}},
			{Name: "not yet", In: []graph.Tensor{f(rows, 5), f(rows, 5), scalar(0)}, Sym: rows, Through: []int{0}},
		},
		"quant.act": {
			{Attrs: ops.Int8, In: []graph.Tensor{f(rows, 5)}, Sym: rows},
			{Name: "4 bits", Attrs: ops.QuantAttrs{Bits: 4, Round: "even"}, In: []graph.Tensor{f(rows, 5)}, Sym: rows},
		},
		"quant.dequant": {{In: []graph.Tensor{opcheck.Codes(r, graph.I8, -127, 127, rows, 5), positive(f(rows, 1))}, Sym: rows}},
		"quant.fake": {
			{Attrs: ops.Int8, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Through: []int{0}},
			{Name: "4 bits", Attrs: ops.QuantAttrs{Bits: 4, Round: "even"}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Through: []int{0}},
		},
	}
	maps.Copy(cs, arrayCases())
	for _, list := range cs {
		for i := range list {
			if list[i].Attrs == nil {
				list[i].Attrs = none
			}
		}
	}
	cs["clip"][1].Attrs = ops.ClipAttrs{}
	return cs
}
