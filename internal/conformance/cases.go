package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/ops/ternary"
)

var (
	exact = Tolerance{}
	// rounded is for a handful of float32 operations on each element.
	rounded = Tolerance{Each: 2e-6, Abs: 1e-37}
	// summed is for sums over a row in float32, whatever the order.
	summed = Tolerance{Rel: 1e-5, Abs: 1e-6}
	// cancelled is for gradients, whose terms nearly cancel.
	cancelled = Tolerance{Rel: 1e-5, Abs: 1e-5}
	// coded is for quantizers behind a float result that is itself rounded.
	coded = Tolerance{Rel: 1e-5, Each: 1e-5, Abs: 1e-30, Codes: 0.005}
)

// offByCode is for products of codes of which one is off by one.
var offByCode = Tolerance{Rel: 0.02}

// Known returns what the suite knows: every op of this module.
func Known() map[*graph.OpDef]Op {
	m := map[*graph.OpDef]Op{
		ops.EmbeddingOp.OpDef:     {embedding, exact},
		ops.EmbeddingGradOp.OpDef: {embeddingGrad, summed},
		ops.RowsOp.OpDef:          {rowsOf, exact},
		ops.RMSNormOp.OpDef:       {rmsnorm, summed},
		ops.RMSNormGradOp.OpDef:   {rmsnormGrad, summed},
		ops.MatMulOp.OpDef:        {matmul, summed},
		ops.BatchMatMulOp.OpDef:   {batchMatMul, summed},
		ops.RoPEOp.OpDef:          {rope, summed},
		ops.SoftmaxOp.OpDef:       {softmax, summed},
		ops.SoftmaxGradOp.OpDef:   {softmaxGrad, summed},
		ops.AddOp.OpDef:           {binary, exact},
		ops.MulOp.OpDef:           {binary, exact},
		ops.SubOp.OpDef:           {binary, exact},
		ops.DivOp.OpDef:           {binary, exact},
		ops.BroadcastOp.OpDef:     {broadcast, rounded},
		ops.BroadcastGradOp.OpDef: {broadcastGrad, summed},
		ops.SumAxisOp.OpDef:       {sumAxis, summed},
		ops.TransposeOp.OpDef:     {transpose, exact},
		ops.ScaleOp.OpDef:         {scale, exact},
		ops.CastOp.OpDef:          {cast, exact},
		ops.SumOp.OpDef:           {sums, Tolerance{Rel: 1e-5, Abs: 1e-4}},
		ops.SqSumOp.OpDef:         {sums, summed},
		ops.FillOp.OpDef:          {fill, exact},
		ops.ClipOp.OpDef:          {clip, rounded},
		ops.AdamWOp.OpDef:         {adamw, Tolerance{Each: 1e-5, Abs: 1e-8}},
		ops.AccumulateOp.OpDef:    {accumulate, exact},
		ops.BlendOp.OpDef:         {blend, exact},
		ops.EMAOp.OpDef:           {ema, exact},
		ops.DropoutOp.OpDef:       {dropout, exact},

		ops.AttentionOp.OpDef:            {attention, Tolerance{Rel: 1e-5, Abs: 1e-6, Narrow: 0x1p-8}},
		ops.AttentionGradOp.OpDef:        {attentionGrad, Tolerance{Rel: 1e-5, Abs: 1e-5, Narrow: 0x1p-7}},
		ops.AttentionDropoutOp.OpDef:     {attentionDropout, Tolerance{Rel: 1e-5, Abs: 1e-6, Narrow: 0x1p-8}},
		ops.AttentionDropoutGradOp.OpDef: {attentionDropoutGrad, Tolerance{Rel: 1e-5, Abs: 1e-5, Narrow: 0x1p-7}},
		ops.CachedAttentionOp.OpDef:      {cachedAttention, summed},
		ops.KVAppendOp.OpDef:             {kvAppend, exact},

		ops.CachedAttentionCodesOp.OpDef: {cachedAttentionCodes, Tolerance{Rel: 5e-4, Abs: 1e-5}},
		ops.KVAppendCodesOp.OpDef:        {kvAppendCodes, exact},

		ops.CrossEntropyOp.OpDef:     {crossEntropy, summed},
		ops.CrossEntropyGradOp.OpDef: {crossEntropyGrad, summed},

		ops.QuantActOp.OpDef:        {quantAct, exact},
		ops.FakeQuantOp.OpDef:       {quantAct, exact},
		ternary.QuantizeOp.OpDef:    {quantize, coded},
		ternary.FakeOp.OpDef:        {quantize, Tolerance{Each: 1e-5}},
		ternary.MatMulOp.OpDef:      {ternaryMatMul, exact},
		ternary.GroupMatMulOp.OpDef: {groupMatMul, exact},
		ternary.SliceOp.OpDef:       {ternarySlice, exact},
		ops.DequantOp.OpDef:         {dequant, exact},
		ternary.DequantOp.OpDef:     {ternaryDequant, exact},

		screen.KeepOp.OpDef:      {keepTop, exact},
		screen.PlanesOp.OpDef:    {screenPlanes, exact},
		screen.TopOp.OpDef:       {screenTop, summed},
		screen.ListOp.OpDef:      {listTop, exact},
		screen.LikeliestOp.OpDef: {screenLikeliest, summed},
		screen.DrawOp.OpDef:      {screenDraw, exact},

		bitlinear.RescaleOp.OpDef:       {rescale, rounded},
		bitlinear.SubLNQuantOp.OpDef:    {sublnQuant, coded},
		bitlinear.ReLU2GLUOp.OpDef:      {binarySame, rounded},
		bitlinear.GLUSubLNQuantOp.OpDef: {gluSublnQuant, coded},
		bitlinear.GLUDownOp.OpDef:       {gluDown, offByCode},
		bitlinear.MLPOp.OpDef:           {mlp, offByCode},
		bitlinear.IntLinearOp.OpDef:     {intLinear(1, false), rounded},
		bitlinear.LinearAddOp.OpDef:     {intLinear(1, true), Tolerance{Rel: 1e-6}},
		bitlinear.IntLinear2Op.OpDef:    {intLinear(2, false), rounded},
		bitlinear.IntLinear3Op.OpDef:    {intLinear(3, false), rounded},
		bitlinear.NormGLUOp.OpDef:       {normLinear(2, false), offByCode},
		bitlinear.NormLinear3Op.OpDef:   {normLinear(3, false), offByCode},
		bitlinear.NormLinearAddOp.OpDef: {normLinear(1, true), offByCode},
		bitlinear.RoPEAttendOp.OpDef:    {ropeAttend, summed},
		bitlinear.RoPEAppendOp.OpDef:    {ropeAppend, summed},

		bitlinear.LinearCastOp.OpDef:        {toBF16(intLinear(1, false), false), rounded},
		bitlinear.LinearCastAddOp.OpDef:     {toBF16(intLinear(1, true), true), Tolerance{Rel: 0x1p-8}}, // a sum may cancel
		bitlinear.DequantCastOp.OpDef:       {toBF16(dequant, false), exact},
		bitlinear.WeightDequantCastOp.OpDef: {toBF16(ternaryDequant, false), exact},
		bitlinear.FakeCastOp.OpDef:          {fakeCast, Tolerance{Each: 1e-5}},
		bitlinear.EmbeddingCastOp.OpDef:     {toBF16(embedding, false), exact},
	}
	for _, op := range []*graph.OpDef{ops.ReLU2Op.OpDef, ops.ReLUOp.OpDef, ops.SiLUOp.OpDef, ops.GELUOp.OpDef} {
		m[op] = Op{unary, rounded}
	}
	for _, op := range []*graph.OpDef{ops.ReLU2GradOp.OpDef, ops.ReLUGradOp.OpDef, ops.SiLUGradOp.OpDef, ops.GELUGradOp.OpDef} {
		m[op] = Op{binarySame, Tolerance{Each: 4e-6, Abs: 1e-6}}
	}
	functions(m)
	return m
}

// overMatrices makes a case of every matrix size.
func overMatrices(f func(rows, cols int) Case) []Case {
	var cs []Case
	for _, m := range matrices {
		cs = append(cs, f(m[0], m[1]))
	}
	return cs
}

func unary(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n, d)}, Rows: []int{0}}
	})
	zeros := graph.NewTensor(graph.F32, 2, 37)
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{zeros}, Note: "zeros"},
		Case{Attrs: graph.None{}, In: []graph.Tensor{r.Fill(-30, 3, 11)}, Note: "far below zero"})
}

func dropout(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		a := ops.DropoutAttrs{P: float64(r.IntN(100)) / 100, Seed: int(r.Uint64()), Stream: r.IntN(100)}
		return Case{Attrs: a, In: []graph.Tensor{r.F32(n, d), graph.FromI32([]int32{r.Int32(), r.Int32N(1 << 20)}, 2)}}
	})
	return append(cs, Case{Attrs: ops.DropoutAttrs{Seed: -1}, In: []graph.Tensor{r.F32(3, 9), graph.FromI32([]int32{-1, 5}, 2)}, Note: "none dropped"})
}

func binarySame(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n, d), r.F32(n, d)}, Rows: []int{0, 1}}
	})
}

func binary(r *Rand) []Case {
	cs := binarySame(r)
	cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.Wild(9, 43), r.Wild(9, 43)}, Note: "of every size"})
	for _, n := range []int{1, 7, 64, 129} {
		cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(3, n), r.F32()}, Note: "scalar"})
	}
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(77), r.F32(77)}, Note: "one dimension"})
}

func scale(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		return Case{Attrs: ops.ScaleAttrs{By: 0.3}, In: []graph.Tensor{r.F32(n, d)}, Rows: []int{0}}
	})
	return append(cs, Case{Attrs: ops.ScaleAttrs{By: -1}, In: []graph.Tensor{r.Wild(5, 41)}, Note: "of every size"})
}

func cast(r *Rand) []Case {
	var cs []Case
	for _, from := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
		for _, to := range []string{"f32", "bf16", "f16"} {
			for _, n := range []int{1, 15, 64, 333} {
				cs = append(cs, Case{Attrs: ops.CastAttrs{To: to}, In: []graph.Tensor{r.Float(from, 2, n)}, Rows: []int{0}})
			}
		}
	}
	for _, to := range []string{"bf16", "f16"} {
		cs = append(cs, Case{Attrs: ops.CastAttrs{To: to}, In: []graph.Tensor{r.Wild(4, 100)}, Note: "of every size"})
	}
	return cs
}

func sums(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case { return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n, d)}} })
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(0, 5)}, Note: "nothing to add"},
		Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(70000)}, Note: "long"})
}

func fill(r *Rand) []Case {
	return overMatrices(func(n, d int) Case { return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(), r.F32(n, d)}} })
}

func clip(r *Rand) []Case {
	var cs []Case
	for _, limit := range []float64{0, 1, 1000} {
		for _, n := range []int{1, 3, 20} {
			c := Case{Attrs: ops.ClipAttrs{Max: limit}}
			for range n {
				c.In = append(c.In, r.Fill(float32(r.Float64()*5)))
			}
			cs = append(cs, c)
		}
	}
	return cs
}

func adamw(r *Rand) []Case {
	var cs []Case
	for _, n := range []int{1, 7, 8, 33, 1000, 5001} {
		for _, decay := range []float64{0, 1} {
			v := r.F32(n)
			for i, x := range v.F32() {
				v.F32()[i] = x * x
			}
			cs = append(cs, Case{Attrs: ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: decay}, In: []graph.Tensor{
				r.F32(n), r.F32(n), r.F32(n), v, graph.FromF32([]float32{1e-3, 0.1, 0.19, 0.31}, 4), r.Fill(0.5)}})
		}
	}
	for part := range 3 {
		const n, parts = 32, 3
		size := ops.PartSize(n, parts)
		v := graph.FromF32(make([]float32, size), size)
		cs = append(cs, Case{Attrs: ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1, Part: part, Parts: parts}, In: []graph.Tensor{
			r.F32(4, n/4), r.F32(size), r.F32(size), v, graph.FromF32([]float32{1e-3, 0.1, 0.19, 0.31}, 4), r.Fill(0.5)}, Note: "a part"})
	}
	return cs
}

func accumulate(r *Rand) []Case {
	var cs []Case
	for _, n := range []int{1, 7, 33, 5001, 40000} {
		for _, first := range []float32{0, 1} {
			cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n), r.F32(n), r.Fill(first)}})
		}
	}
	return cs
}

func blend(r *Rand) []Case {
	var cs []Case
	for _, n := range []int{1, 7, 33, 5001, 40000} {
		for _, lambda := range []float32{-1, 0, 0.3, 1, 2} {
			cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n), r.F32(n), r.Fill(lambda)}})
		}
	}
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.Wild(9, 43), r.Wild(9, 43), r.Fill(0.7)}, Rows: []int{0, 1}, Note: "of every size"})
}

func ema(r *Rand) []Case {
	var cs []Case
	for _, n := range []int{1, 7, 33, 5001, 40000} {
		cs = append(cs, Case{Attrs: ops.EMAAttrs{Decay: 0.99}, In: []graph.Tensor{r.F32(n), r.F32(n)}})
	}
	return cs
}
