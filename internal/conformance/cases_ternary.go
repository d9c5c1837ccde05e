package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// ties returns rows whose codes fall exactly between two integers: the largest
// value is the largest code, so the scale is 1.
func ties(qmax float32, n, d int) graph.Tensor {
	t := graph.NewTensor(graph.F32, n, d)
	for i := range n {
		for j := range d {
			t.F32()[i*d+j] = float32((i+j)%int(2*qmax)) - qmax + 0.5
		}
		t.F32()[i*d] = qmax
	}
	return t
}

func quantAct(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		return Case{Attrs: ops.Int8, In: []graph.Tensor{r.F32(n, d)}, Rows: []int{0}}
	})
	add := func(note string, a ops.QuantAttrs, x graph.Tensor) {
		cs = append(cs, Case{Attrs: a, In: []graph.Tensor{x}, Rows: []int{0}, Note: note})
	}
	four := ops.QuantAttrs{Bits: 4, Round: "even"}
	for _, d := range []int{5, 64, 131} {
		add("ties", ops.Int8, ties(127, 3, d))
		add("ties", four, ties(7, 3, d))
		add("", four, r.F32(4, d))
		add("zeros", ops.Int8, graph.NewTensor(graph.F32, 3, d))
		add("below the smallest scale", ops.Int8, r.Fill(3e-6, 2, d))
		add("equal", ops.Int8, r.Fill(-2.5, 2, d))
		outlier := r.F32(3, d)
		outlier.F32()[d/2] = -1e6
		outlier.F32()[len(outlier.F32())-1] = 1e30
		add("outliers", ops.Int8, outlier)
	}
	return cs
}

func quantize(r *Rand) []Case {
	var cs []Case
	for _, m := range matrices {
		for _, elem := range []graph.DType{graph.F32, graph.BF16} {
			cs = append(cs, Case{Attrs: ternary.AbsMean, In: []graph.Tensor{r.Float(elem, m[0], m[1])}})
		}
	}
	for _, m := range [][3]int{{1, 1, 1}, {3, 6, 2}, {7, 96, 32}, {65, 256, 128}, {33, 130, 65}, {5, 640, 640}} {
		cs = append(cs, Case{Attrs: ternary.ScaleAttrs{Scale: "absmean", Group: m[2]}, In: []graph.Tensor{r.F32(m[0], m[1])}, Note: "groups"})
	}
	for _, elem := range []graph.DType{graph.BF16, graph.F16} {
		cs = append(cs, Case{Attrs: ternary.AbsMean, In: []graph.Tensor{r.Float(elem, 9, 130)}},
			Case{Attrs: ternary.ScaleAttrs{Scale: "absmean", Group: 26}, In: []graph.Tensor{r.Float(elem, 9, 130)}, Note: "groups"})
	}
	return append(cs, Case{Attrs: ternary.AbsMean, In: []graph.Tensor{graph.NewTensor(graph.F32, 3, 20)}, Note: "zeros"},
		Case{Attrs: ternary.AbsMean, In: []graph.Tensor{r.Fill(-0.25, 4, 33)}, Note: "equal"})
}

func dequant(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(n, d), r.scales(n)}, Rows: []int{0, 1}}
	})
}

func ternaryDequant(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.Tern(n, d), r.Fill(0.37)}}
	})
}

// products are rows, inner and outer extents of ternary products, around the
// panels and blocks of packed layouts.
var products = [][3]int{
	{1, 1, 1}, {2, 3, 5}, {1, 31, 8}, {3, 32, 9}, {1, 33, 7}, {5, 64, 16}, {1, 127, 33}, {4, 128, 32}, {2, 129, 31}, {9, 256, 24},
	{1, 300, 65}, {17, 160, 40}, {1, 640, 64}, {33, 96, 17}, {1, 2560, 48}, {3, 1000, 100}, {131, 48, 270},
	{1, 6912, 20}, {1, 8192, 18}, {15, 320, 24},
}

func ternaryMatMul(r *Rand) []Case {
	var cs []Case
	for _, p := range products {
		cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(p[0], p[1]), r.Tern(p[2], p[1])}, Rows: []int{0}})
	}
	// The largest sums, where a kernel that adds in 16 bits overflows.
	for _, q := range []int8{-128, 127} {
		for _, t := range []int8{-1, 1} {
			cs = append(cs, Case{Attrs: graph.None{}, Note: "extremes", Rows: []int{0},
				In: []graph.Tensor{fillI8(graph.I8, q, 2, 2560), fillI8(graph.Tern, t, 9, 2560)}})
		}
	}
	return cs
}

func groupMatMul(r *Rand) []Case {
	var cs []Case
	for _, p := range []struct{ m, k, n, groups int }{
		{1, 1, 1, 1}, {2, 6, 5, 3}, {3, 64, 9, 2}, {1, 256, 64, 2}, {17, 130, 65, 2}, {33, 96, 17, 96}, {16, 512, 129, 4}, {5, 2560, 48, 1},
	} {
		cs = append(cs, Case{Attrs: graph.None{}, Rows: []int{0, 1},
			In: []graph.Tensor{r.I8(p.m, p.k), r.scales(p.m), r.Tern(p.n, p.k), r.F32(p.n, p.groups)}})
	}
	return append(cs, Case{Attrs: graph.None{}, Note: "extremes", Rows: []int{0, 1},
		In: []graph.Tensor{fillI8(graph.I8, -128, 2, 2560), r.scales(2), fillI8(graph.Tern, -1, 9, 2560), r.F32(9, 20)}})
}

func rescale(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.I32(-1<<24, 1<<24, n, d), r.scales(n), r.Fill(0.37)}, Rows: []int{0, 1}}
	})
}

// scales returns activation scales of n rows, all positive.
func (r *Rand) scales(n int) graph.Tensor {
	t := graph.NewTensor(graph.F32, n, 1)
	for i := range t.F32() {
		t.F32()[i] = 10 + 100*r.Float32()
	}
	return t
}

func normQuant(bits int) bitlinear.NormQuantAttrs {
	return bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: bits, Round: "even"}
}

func sublnQuant(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		return Case{Attrs: normQuant(8), In: []graph.Tensor{r.F32(n, d), r.F32(d)}, Rows: []int{0}}
	})
	for _, m := range [][2]int{{132, 2600}, {129, 4100}} {
		cs = append(cs, Case{Attrs: normQuant(8), In: []graph.Tensor{r.F32(m[0], m[1]), r.F32(m[1])}, Rows: []int{0}, Note: "many rows"})
	}
	return append(cs, Case{Attrs: normQuant(8), In: []graph.Tensor{graph.NewTensor(graph.F32, 2, 40), r.F32(40)}, Note: "zeros"},
		Case{Attrs: normQuant(4), In: []graph.Tensor{r.F32(3, 96), r.F32(96)}, Rows: []int{0}, Note: "four bits"})
}

func gluSublnQuant(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: normQuant(8), In: []graph.Tensor{r.F32(n, d), r.F32(n, d), r.F32(d)}, Rows: []int{0, 1}}
	})
}

func gluDown(r *Rand) []Case {
	var cs []Case
	for _, p := range products {
		cs = append(cs, Case{Attrs: normQuant(8), Rows: []int{0, 1, 5}, In: []graph.Tensor{
			r.F32(p[0], p[1]), r.F32(p[0], p[1]), r.F32(p[1]), r.Tern(p[2], p[1]), r.Fill(0.3), r.F32(p[0], p[2])}})
	}
	return append(cs, Case{Attrs: normQuant(8), Rows: []int{0, 1, 5}, Note: "all zero", In: []graph.Tensor{
		r.Fill(-1, 2, 70), r.F32(2, 70), r.F32(70), r.Tern(33, 70), r.Fill(0.3), r.F32(2, 33)}})
}

func mlp(r *Rand) []Case {
	var cs []Case
	for _, p := range products {
		s, k, n := p[0], p[1], p[2]
		cs = append(cs, Case{Attrs: normQuant(8), Rows: []int{0, 1, 9}, In: []graph.Tensor{
			r.I8(s, k), r.scales(s), r.Tern(n, k), r.Fill(0.1), r.Tern(n, k), r.Fill(0.2), r.F32(n), r.Tern(n/2+1, n), r.Fill(0.3), r.F32(s, n/2+1)}})
	}
	return cs
}

// intLinear makes cases of a fused product with count weights and, if res, a
// residual.
func intLinear(count int, res bool) func(r *Rand) []Case {
	return func(r *Rand) []Case {
		var cs []Case
		for _, p := range products {
			c := Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(p[0], p[1]), r.scales(p[0])}, Rows: []int{0, 1}}
			for i := range count {
				c.In = append(c.In, r.Tern(p[2]+i*3, p[1]), r.Fill(0.1+float32(i)))
			}
			if res {
				c.In = append(c.In, r.F32(p[0], p[2]))
				c.Rows = append(c.Rows, len(c.In)-1)
			}
			cs = append(cs, c)
		}
		return cs
	}
}

// normLinear makes cases of a product with a norm before it.
func normLinear(count int, res bool) func(r *Rand) []Case {
	return func(r *Rand) []Case {
		var cs []Case
		for _, p := range append(products, [][3]int{{2, 6912, 33}, {1, 8200, 20}, {1, 9, 2200}}...) {
			c := Case{Attrs: normQuant(8), In: []graph.Tensor{r.F32(p[0], p[1]), r.F32(p[1])}, Rows: []int{0}}
			for i := range count {
				n := p[2]
				if count == 3 {
					n += 3 * i // as query, key and value differ
				}
				c.In = append(c.In, r.Tern(n, p[1]), r.Fill(0.1+float32(i)))
			}
			if res {
				c.In = append(c.In, r.F32(p[0], p[2]))
				c.Rows = append(c.Rows, len(c.In)-1)
			}
			cs = append(cs, c)
		}
		return cs
	}
}

func ternarySlice(r *Rand) []Case {
	var cs []Case
	for _, m := range matrices {
		for _, rows := range [][2]int{{0, m[0]}, {m[0] / 2, m[0]}, {m[0] / 3, m[0]/3 + 1}} {
			cs = append(cs, Case{Attrs: ternary.RowsAttrs{From: rows[0], To: rows[1]}, In: []graph.Tensor{r.Tern(m[0], m[1])}})
		}
	}
	return cs
}
