package avx

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// TestKernels holds every kernel to the op's reference, at odd extents and with
// hostile values, and every row of the table to being tested.
func TestKernels(t *testing.T) {
	all := targets(t)
	seen, ran := map[string]bool{}, 0
	var cases []opCase
	for _, f := range []func() []opCase{linearCases, quantCases, rowCases, cacheCases, lookupCases, elementCases, matmulCases} {
		cases = append(cases, f()...)
	}
	cases = append(cases, attentionCases(t)...)
	cases = append(cases, lossCases(t)...)
	cases = append(cases, optimizerCases()...)
	for i := range cases {
		c := &cases[i]
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			ran++
			c.check(t, all, seen)
		})
	}
	if ran < len(cases) {
		return // only some were asked for
	}
	for _, same := range all {
		for _, k := range same[0].dev.Kernels() {
			if k.Op != nil && available(same[0].dev, k) && !seen[k.Name] {
				t.Errorf("no case ran kernel %s", k.Name)
			}
		}
	}
}

func linearCases() []opCase {
	var cs []opCase
	for i, d := range [][3]int{{1, 16, 16}, {1, 1, 1}, {2, 17, 33}, {3, 70, 40}, {5, 130, 96}, {14, 100, 257}, {1, 300, 2560}, {300, 66, 31}} {
		s, n, k := d[0], d[1], d[2]
		q, w := bytesOf8(uint64(i), graph.I8, -128, 127, s, k), bytesOf8(uint64(i+50), graph.Tern, -1, 1, n, k)
		w2, w3 := bytesOf8(uint64(i+60), graph.Tern, -1, 1, n+1, k), bytesOf8(uint64(i+70), graph.Tern, -1, 1, 2*n, k)
		sc := floats(uint64(i), s, 1)
		for j, v := range sc.F32() {
			sc.F32()[j] = 1 + float32(math.Abs(float64(v)))
		}
		g := scalar(0.37)
		size := fmt.Sprintf(" %dx%dx%d", s, n, k)
		cs = append(cs,
			opCase{name: "ternary.matmul" + size, op: ternary.MatMulOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, w}},
			opCase{name: "fused.bitlinear" + size, op: bitlinear.IntLinearOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, sc, w, g}},
			opCase{name: "fused.bitlinear_add" + size, op: bitlinear.LinearAddOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, sc, w, g, floats(3, s, n)}},
			opCase{name: "fused.bitlinear2" + size, op: bitlinear.IntLinear2Op.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, sc, w, g, w2, scalar(2)}},
			opCase{name: "fused.bitlinear3" + size, op: bitlinear.IntLinear3Op.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, sc, w, g, w2, scalar(2), w3, scalar(3)}},
			opCase{name: "rescale" + size, op: bitlinear.RescaleOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{ints(4, -100000, 100000, s, n), sc, g}},
		)
	}
	// The sum that overflows 16 bits.
	q, w := graph.NewTensor(graph.I8, 3, 2560), graph.NewTensor(graph.Tern, 20, 2560)
	for i := range q.I8() {
		q.I8()[i] = -128
	}
	for i := range w.I8() {
		w.I8()[i] = -1
	}
	return append(cs, opCase{name: "ternary.matmul extreme", op: ternary.MatMulOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, w}})
}

func quantCases() []opCase {
	var cs []opCase
	nq := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	for i, d := range [][2]int{{1, 1}, {2, 7}, {3, 32}, {5, 100}, {17, 257}, {40, 2560}} {
		s, k := d[0], d[1]
		x, y, g := floats(uint64(i), s, k), floats(uint64(i+9), s, k), floats(uint64(i+5), k)
		if i%2 == 0 {
			clear(x.F32()[:k]) // a row of zeros has a scale of its own
		}
		size := fmt.Sprintf(" %dx%d", s, k)
		cs = append(cs,
			opCase{name: "quant.act" + size, op: ops.QuantActOp.OpDef, attrs: ops.Int8, in: []graph.Tensor{x}},
			opCase{name: "quant.fake" + size, op: ops.FakeQuantOp.OpDef, attrs: ops.Int8, in: []graph.Tensor{x}},
			opCase{name: "subln_quant" + size, op: bitlinear.SubLNQuantOp.OpDef, attrs: nq, in: []graph.Tensor{x, g}, tol: 2e-6, codes: 1 + s*k/1000},
			opCase{name: "relu2_glu" + size, op: bitlinear.ReLU2GLUOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{x, y}},
			opCase{name: "glu_quant" + size, op: bitlinear.GLUSubLNQuantOp.OpDef, attrs: nq, in: []graph.Tensor{x, y, g}, tol: 2e-6, codes: 1 + s*k/1000},
		)
		w := floats(uint64(i+20), s, k)
		for _, e := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
			we := w
			if e != graph.F32 {
				we = halves(e, w)
			}
			cs = append(cs, opCase{name: "ternary.quantize " + e.String() + size, op: ternary.QuantizeOp.OpDef, attrs: ternary.AbsMean, in: []graph.Tensor{we}})
		}
		cs = append(cs, opCase{name: "ternary.fake" + size, op: ternary.FakeOp.OpDef, attrs: ternary.AbsMean, in: []graph.Tensor{w}, tol: 1e-6})
	}
	tiny := filled(graph.NewTensor(graph.F32, 4, 40), 1e-7)
	return append(cs,
		opCase{name: "ternary.quantize tiny", op: ternary.QuantizeOp.OpDef, attrs: ternary.AbsMean, in: []graph.Tensor{tiny}},
		opCase{name: "ternary.quantize large", op: ternary.QuantizeOp.OpDef, attrs: ternary.AbsMean, in: []graph.Tensor{floats(77, 300, 500)}},
		opCase{name: "quant.act halfway", op: ops.QuantActOp.OpDef, attrs: ops.Int8, in: []graph.Tensor{graph.FromF32([]float32{127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 63.5}, 1, 8)}},
	)
}

func rowCases() []opCase {
	var cs []opCase
	for i, d := range [][2]int{{1, 1}, {3, 9}, {7, 64}, {33, 130}, {70, 256}} {
		s, k := d[0], d[1]
		x, g := floats(uint64(i), s, k), floats(uint64(i+5), k)
		size := fmt.Sprintf(" %dx%d", s, k)
		cs = append(cs,
			opCase{name: "rmsnorm" + size, op: ops.RMSNormOp.OpDef, attrs: ops.NormAttrs{Eps: 1e-5}, in: []graph.Tensor{x, g}, tol: 2e-6},
			opCase{name: "softmax" + size, op: ops.SoftmaxOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{x}, tol: 1e-6},
			opCase{name: "rmsnorm.grad" + size, op: ops.RMSNormGradOp.OpDef, attrs: ops.NormAttrs{Eps: 1e-5}, in: []graph.Tensor{x, g, floats(uint64(i+7), s, k)}, tol: 5e-6},
			opCase{name: "softmax.grad" + size, op: ops.SoftmaxGradOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{x, floats(uint64(i+7), s, k)}, tol: 2e-5},
		)
	}
	for i, d := range [][3]int{{1, 1, 2}, {3, 2, 8}, {9, 4, 20}, {70, 3, 64}} {
		s, h, hd := d[0], d[1], d[2]
		x, pos := floats(uint64(i), s, h*hd), ints(uint64(i), 0, 700, s)
		pos.I32()[0] = 300000 // beyond the tables
		for _, inv := range []bool{false, true} {
			cs = append(cs, opCase{name: fmt.Sprintf("rope %v inverse=%v", d, inv), op: ops.RoPEOp.OpDef,
				attrs: ops.RoPEAttrs{Theta: 10000, HeadDim: hd, Inverse: inv}, in: []graph.Tensor{x, pos}})
		}
	}
	return cs
}

func lookupCases() []opCase {
	var cs []opCase
	table := floats(1, 19, 37)
	for _, s := range []int{1, 5, 600} {
		ids := ints(uint64(s), 0, 18, s)
		for _, e := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
			te := table
			if e != graph.F32 {
				te = halves(e, table)
			}
			cs = append(cs, opCase{name: fmt.Sprintf("embedding %s %d", e, s), op: ops.EmbeddingOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{te, ids}})
		}
		cs = append(cs,
			opCase{name: fmt.Sprintf("rows %d", s), op: ops.RowsOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{table, ids}},
			opCase{name: fmt.Sprintf("rows i32 %d", s), op: ops.RowsOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{ints(3, 0, 9, 19), ids}},
			opCase{name: fmt.Sprintf("embedding.grad %d", s), op: ops.EmbeddingGradOp.OpDef, attrs: ops.EmbeddingGradAttrs{Rows: 19}, in: []graph.Tensor{ids, floats(2, s, 37)}},
		)
	}
	return cs
}

func elementCases() []opCase {
	var cs []opCase
	none := graph.None{}
	for i, n := range []int{1, 7, 8, 100, 40000} {
		x, y := floats(uint64(i), n), floats(uint64(i+9), n)
		size := fmt.Sprintf(" %d", n)
		for _, op := range []*graph.OpDef{ops.AddOp.OpDef, ops.MulOp.OpDef} {
			cs = append(cs, opCase{name: op.Name + size, op: op, attrs: none, in: []graph.Tensor{x, y}},
				opCase{name: op.Name + " scalar" + size, op: op, attrs: none, in: []graph.Tensor{x, scalar(1.25)}})
		}
		cs = append(cs,
			opCase{name: "scale" + size, op: ops.ScaleOp.OpDef, attrs: ops.ScaleAttrs{By: 0.3}, in: []graph.Tensor{x}},
			opCase{name: "fill" + size, op: ops.FillOp.OpDef, attrs: none, in: []graph.Tensor{scalar(3), x}},
		)
		for _, op := range []*graph.OpDef{ops.ReLU2Op.OpDef, ops.SiLUOp.OpDef, ops.GELUOp.OpDef} {
			cs = append(cs, opCase{name: op.Name + size, op: op, attrs: none, in: []graph.Tensor{x}, tol: 1e-6})
		}
		for _, op := range []*graph.OpDef{ops.ReLU2GradOp.OpDef, ops.SiLUGradOp.OpDef, ops.GELUGradOp.OpDef} {
			cs = append(cs, opCase{name: op.Name + size, op: op, attrs: none, in: []graph.Tensor{x, y}, tol: 1e-6})
		}
		for _, from := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
			xe := x
			if from != graph.F32 {
				xe = halves(from, x)
			}
			for _, to := range []string{"f32", "bf16", "f16"} {
				cs = append(cs, opCase{name: "cast " + from.String() + " " + to + size, op: ops.CastOp.OpDef, attrs: ops.CastAttrs{To: to}, in: []graph.Tensor{xe}})
			}
		}
	}
	return append(cs, opCase{name: "add two scalars", op: ops.AddOp.OpDef, attrs: none, in: []graph.Tensor{scalar(1), scalar(2)}},
		opCase{name: "relu2.grad one", op: ops.ReLU2GradOp.OpDef, attrs: none, in: []graph.Tensor{scalar(1), scalar(2)}})
}

func matmulCases() []opCase {
	var cs []opCase
	for i, d := range [][3]int{{1, 1, 1}, {1, 50, 64}, {3, 9, 5}, {7, 130, 100}, {65, 33, 300}, {100, 70, 520}} {
		m, n, k := d[0], d[1], d[2]
		for _, ta := range []bool{false, true} {
			for _, tb := range []bool{false, true} {
				a, b := floats(uint64(i), m, k), floats(uint64(i+7), k, n)
				if ta {
					a = floats(uint64(i), k, m)
				}
				if tb {
					b = floats(uint64(i+7), n, k)
				}
				cs = append(cs, opCase{name: fmt.Sprintf("matmul %v %v %v", d, ta, tb), op: ops.MatMulOp.OpDef, attrs: ops.MatMulAttrs{TA: ta, TB: tb}, in: []graph.Tensor{a, b}, tol: 4e-6 * math.Sqrt(float64(k+25))})
			}
		}
		for _, e := range []graph.DType{graph.BF16, graph.F16} {
			cs = append(cs, opCase{name: fmt.Sprintf("matmul %v %s", d, e), op: ops.MatMulOp.OpDef, attrs: ops.MatMulAttrs{TB: true},
				in: []graph.Tensor{floats(1, m, k), halves(e, floats(2, n, k))}, tol: 2e-5})
		}
	}
	return cs
}
