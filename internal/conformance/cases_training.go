package conformance

import (
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// residual is for sums over a row, rounded, with another value added.
var residual = Tolerance{Rel: 1e-5, Abs: 1e-6, Narrow: 0x1p-8}

// functions adds the elementwise functions that models may declare, with their
// gradients.
func functions(m map[*graph.OpDef]Op) {
	for _, f := range []struct {
		fwd, bwd graph.Op[graph.None]
		positive bool // defined for positive operands only
	}{
		{ops.SigmoidOp, ops.SigmoidGradOp, false}, {ops.TanhOp, ops.TanhGradOp, false}, {ops.SoftplusOp, ops.SoftplusGradOp, false},
		{ops.ExpOp, ops.ExpGradOp, false}, {ops.Expm1Op, ops.Expm1GradOp, false},
		{ops.LogOp, ops.LogGradOp, true}, {ops.Log1pOp, ops.Log1pGradOp, true}, {ops.SqrtOp, ops.SqrtGradOp, true},
		{ops.SinOp, ops.SinGradOp, false}, {ops.CosOp, ops.CosGradOp, false}, {ops.AbsOp, ops.AbsGradOp, false},
	} {
		cases := func(draw func(*Rand) []Case) func(*Rand) []Case {
			return func(r *Rand) []Case {
				cs := draw(r)
				for i := 0; f.positive && i < len(cs); i++ {
					for j, v := range cs[i].In[0].F32() {
						cs[i].In[0].F32()[j] = float32(math.Abs(float64(v))) + 1e-3
					}
				}
				return cs
			}
		}
		m[f.fwd.OpDef] = Op{cases(unary), Tolerance{Each: 4e-6, Abs: 1e-7}}
		m[f.bwd.OpDef] = Op{cases(binarySame), Tolerance{Each: 4e-6, Abs: 1e-6}}
	}
	m[ops.ClipGradsOp.OpDef] = Op{clipGrads, Tolerance{Each: 1e-5}}
	m[ops.AdamWCastOp.OpDef] = Op{adamwCast, Tolerance{Each: 1e-5, Abs: 1e-8}}
	m[ops.CompareOp.OpDef] = Op{comparisons, exact}
	m[ops.LogSoftmaxOp.OpDef] = Op{softmax, summed}
	m[ops.SliceOp.OpDef] = Op{sliced, exact}
	m[ops.PadOp.OpDef] = Op{pads, exact}
	m[ops.ConcatOp.OpDef] = Op{concats, exact}
	m[ops.DistillOp.OpDef] = Op{distill, summed}
	m[ops.DistillGradOp.OpDef] = Op{distillGrad, cancelled}
	m[ops.RelationOp.OpDef] = Op{relation, cancelled}
	m[ops.RelationGradOp.OpDef] = Op{relationGrad, cancelled}
	m[bitlinear.SubLNFakeOp.OpDef] = Op{sublnFake, Tolerance{Rel: 0.02}} // a code off by one
	m[bitlinear.NormGradAddOp.OpDef] = Op{normGradAdd(1), residual}
	m[bitlinear.NormGradSum2AddOp.OpDef] = Op{normGradAdd(2), residual}
	m[bitlinear.NormGradSum3AddOp.OpDef] = Op{normGradAdd(3), residual}
	m[bitlinear.GLUSubLNFakeOp.OpDef] = Op{gluSublnQuant, Tolerance{Rel: 0.02}}
	m[bitlinear.GLUSubLNGradOp.OpDef] = Op{gluGrad, Tolerance{Rel: 2e-5, Abs: 1e-5}}
}

func comparisons(r *Rand) []Case {
	var cs []Case
	for _, op := range []string{"lt", "le", "gt", "ge", "eq", "ne"} {
		a, b := r.F32(3, 37), r.F32(3, 37)
		copy(b.F32()[:20], a.F32())
		a.F32()[30] = float32(math.NaN())
		cs = append(cs, Case{Attrs: ops.CompareAttrs{Op: op}, In: []graph.Tensor{a, b}, Rows: []int{0, 1}},
			Case{Attrs: ops.CompareAttrs{Op: op}, In: []graph.Tensor{a, r.F32()}, Note: "scalar"})
	}
	return cs
}

// boxes are shapes to cut and to join along each axis.
var boxes = [][]int{{7}, {5, 9}, {33, 17}, {4, 6, 70}, {2, 3, 4, 5}}

func sliced(r *Rand) []Case {
	var cs []Case
	for _, d := range boxes {
		for axis, n := range d {
			for _, at := range [][2]int{{0, n}, {1, n}, {0, n - 1}, {n / 2, n/2 + 1}} {
				cs = append(cs, Case{Attrs: ops.SliceAttrs{Axis: axis, From: at[0], To: at[1]}, In: []graph.Tensor{r.F32(d...)}})
			}
		}
	}
	return cs
}

func pads(r *Rand) []Case {
	var cs []Case
	for _, d := range boxes {
		for axis := range d {
			for _, by := range [][2]int{{0, 0}, {3, 0}, {0, 5}, {2, 1}} {
				cs = append(cs, Case{Attrs: ops.PadAttrs{Axis: axis, Before: by[0], After: by[1]}, In: []graph.Tensor{r.F32(d...)}})
			}
		}
	}
	return cs
}

func concats(r *Rand) []Case {
	var cs []Case
	for _, d := range boxes {
		for axis := range d {
			other := append([]int(nil), d...)
			other[axis] += 3
			cs = append(cs, Case{Attrs: ops.AxisAttrs{Axis: axis}, In: []graph.Tensor{r.F32(d...)}},
				Case{Attrs: ops.AxisAttrs{Axis: axis}, In: []graph.Tensor{r.F32(d...), r.F32(other...), r.F32(d...)}})
		}
	}
	return cs
}

func distill(r *Rand) []Case {
	var cs []Case
	for _, temperature := range []float64{1, 5} {
		for _, m := range [][2]int{{1, 2}, {3, 17}, {9, 300}} {
			t := r.I32(0, m[1], m[0])
			for i := range t.I32() {
				if r.IntN(4) == 0 {
					t.I32()[i] = ops.IgnoreTarget
				}
			}
			cs = append(cs, Case{Attrs: ops.DistillAttrs{Temperature: temperature, Ignore: ops.IgnoreTarget},
				In: []graph.Tensor{r.F32(m[0], m[1]), r.F32(m[0], m[1]), t}})
		}
	}
	return cs
}

// behind adds the results of op, but the loss, and a loss's gradient to its own
// operands: what its gradient's op takes.
func behind(op *graph.OpDef, cs []Case, loss graph.Tensor) []Case {
	var out []Case
	for _, c := range cs {
		p, err := reference(op, c)
		if err != nil {
			continue
		}
		c.In = append(append(c.In, p.want[1:]...), loss)
		out = append(out, c)
	}
	return out
}

func distillGrad(r *Rand) []Case { return behind(ops.DistillOp.OpDef, distill(r), r.Fill(0.7)) }

func relation(r *Rand) []Case {
	var cs []Case
	for _, m := range []struct{ n, heads, d, e int }{{1, 1, 4, 3}, {9, 2, 8, 5}, {40, 3, 16, 16}, {300, 1, 6, 4}} {
		seq := graph.NewTensor(graph.I32, m.n)
		for i := range seq.I32() {
			seq.I32()[i] = int32(i * 3 / m.n)
		}
		cs = append(cs, Case{Attrs: ops.RelationAttrs{Heads: m.heads}, In: []graph.Tensor{r.F32(m.n, m.heads*m.d), r.F32(m.n, m.heads*m.e), seq}})
	}
	return cs
}

func relationGrad(r *Rand) []Case { return behind(ops.RelationOp.OpDef, relation(r), r.Fill(0.7)) }

func sublnFake(r *Rand) []Case {
	cs := sublnQuant(r)
	return append(cs, Case{Attrs: normQuant(8), In: []graph.Tensor{r.F32(5, 1344), r.F32(1344)}, Rows: []int{0}})
}

// normGradAdd adds operands to the cases of a norm's gradient: what else arrives,
// and the residual stream.
func normGradAdd(more int) func(r *Rand) []Case {
	return func(r *Rand) []Case {
		cs := rmsnormGrad(r)
		for i := range cs {
			for range more {
				cs[i].In = append(cs[i].In, r.F32(cs[i].In[0].Dims...))
			}
		}
		return cs
	}
}

func gluGrad(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{r.F32(n, d), r.F32(n, d), r.F32(d), r.F32(n, d)}}
	})
}

func clipGrads(r *Rand) []Case {
	var cs []Case
	for _, limit := range []float64{0, 1, 1e5} {
		for _, n := range []int{1, 3, 130} {
			c := Case{Attrs: ops.ClipAttrs{Max: limit}}
			for i := range n {
				elem := []graph.DType{graph.F32, graph.BF16}[i%2]
				c.In = append(c.In, r.Float(elem, 1+i%7, 1+r.IntN(90)))
			}
			c.In[0] = r.F32(3, 17000)
			cs = append(cs, c)
		}
	}
	return cs
}

func adamwCast(r *Rand) []Case {
	cs := adamw(r)
	for i := range cs {
		cs[i].In[1] = r.Float(graph.BF16, cs[i].In[1].Dims...)
	}
	return cs
}
