package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

func embedding(r *Rand) []Case {
	var cs []Case
	for _, elem := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
		for _, m := range matrices {
			vocab := 1 + r.IntN(40)
			cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.Float(elem, vocab, m[1]), r.I32(0, vocab, m[0])}, Rows: []int{1}})
		}
	}
	return cs
}

func embeddingGrad(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		vocab := 1 + r.IntN(10) // few rows, so that ids repeat
		return Case{Attrs: ops.EmbeddingGradAttrs{Rows: vocab}, In: []graph.Tensor{r.I32(0, vocab, n), r.F32(n, d)}}
	})
}

func rowsOf(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n, d), r.I32(0, n, 1+r.IntN(2*n))}, Rows: []int{1}}
	})
}

func rmsnorm(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		return Case{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{r.F32(n, d), r.F32(d)}, Rows: []int{0}}
	})
	return append(cs,
		Case{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{r.Fill(0, 3, 50), r.F32(50)}, Note: "zeros"},
		Case{Attrs: ops.NormAttrs{Eps: 1e-6}, In: []graph.Tensor{r.Fill(1e-12, 2, 50), r.F32(50)}, Note: "eps decides"},
		Case{Attrs: ops.NormAttrs{Eps: 1e-6}, In: []graph.Tensor{r.Fill(1e9, 2, 50), r.F32(50)}, Note: "large"})
}

func rmsnormGrad(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		return Case{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{r.F32(n, d), r.F32(d), r.F32(n, d)}}
	})
}

func matmul(r *Rand) []Case {
	var cs []Case
	add := func(m, k, n int, ta, tb bool, elem graph.DType) {
		a, b := []int{m, k}, []int{k, n}
		c := Case{Attrs: ops.MatMulAttrs{TA: ta, TB: tb}, Rows: []int{0}}
		if ta {
			a = []int{k, m}
			c.Rows = nil
		}
		if tb {
			b = []int{n, k}
		}
		c.In = []graph.Tensor{r.F32(a...), r.Float(elem, b...)}
		cs = append(cs, c)
	}
	for _, s := range [][3]int{{1, 1, 1}, {1, 5, 3}, {3, 17, 4}, {2, 8, 33}, {5, 64, 16}, {7, 33, 65}, {16, 100, 24}, {1, 256, 70},
		{17, 31, 129}, {33, 70, 48}, {64, 64, 64}, {1, 688, 256}, {6, 300, 50}, {50, 600, 20}} {
		for _, ta := range []bool{false, true} {
			for _, tb := range []bool{false, true} {
				add(s[0], s[1], s[2], ta, tb, graph.F32)
			}
		}
		add(s[0], s[1], s[2], false, true, graph.BF16)
		add(s[0], s[1], s[2], false, true, graph.F16)
	}
	// Gradients of weights: few results, each a long sum.
	add(24, 2104, 16, true, false, graph.F32)
	// More than a tile each way, in whole copies of 16 bytes.
	for _, ta := range []bool{false, true} {
		for _, tb := range []bool{false, true} {
			add(136, 72, 200, ta, tb, graph.F32)
		}
	}
	return cs
}

func batchMatMul(r *Rand) []Case {
	var cs []Case
	for _, s := range [][4]int{{1, 1, 1, 1}, {3, 2, 5, 4}, {2, 1, 33, 17}, {5, 50, 20, 3}, {4, 33, 70, 48}, {7, 16, 300, 9}} {
		for _, ta := range []bool{false, true} {
			for _, tb := range []bool{false, true} {
				a, b := []int{s[0], s[1], s[2]}, []int{s[0], s[2], s[3]}
				if ta {
					a = []int{s[0], s[2], s[1]}
				}
				if tb {
					b = []int{s[0], s[3], s[2]}
				}
				cs = append(cs, Case{Attrs: ops.MatMulAttrs{TA: ta, TB: tb}, In: []graph.Tensor{r.F32(a...), r.F32(b...)}, Rows: []int{0, 1}})
			}
		}
	}
	four := Case{Attrs: ops.MatMulAttrs{}, In: []graph.Tensor{r.F32(2, 3, 4, 5), r.F32(2, 3, 5, 6)}, Note: "two leading axes"}
	return append(cs, four)
}

func rope(r *Rand) []Case {
	var cs []Case
	for _, hd := range []int{2, 6, 16, 64, 128} {
		for _, heads := range []int{1, 3} {
			for _, n := range []int{1, 5} {
				for _, inverse := range []bool{false, true} {
					cs = append(cs, Case{Attrs: ops.RoPEAttrs{Theta: 500000, HeadDim: hd, Inverse: inverse},
						In: []graph.Tensor{r.F32(n, heads*hd), r.I32(0, 4096, n)}, Rows: []int{0, 1}})
				}
			}
		}
	}
	return cs
}

func softmax(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case { return Case{Attrs: graph.None{}, In: []graph.Tensor{r.F32(n, d)}, Rows: []int{0}} })
	steep := r.F32(3, 70)
	for i := range steep.F32() {
		steep.F32()[i] *= 200
	}
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{steep}, Note: "steep"},
		Case{Attrs: graph.None{}, In: []graph.Tensor{r.Fill(-1e6, 2, 9)}, Note: "all far below zero"})
}

func softmaxGrad(r *Rand) []Case {
	return overMatrices(func(n, d int) Case {
		y := r.F32(n, d)
		if err := ops.SoftmaxOp.Run(graph.None{}, []graph.Tensor{r.F32(n, d)}, []graph.Tensor{y}); err != nil {
			y = r.Fill(1/float32(d), n, d)
		}
		return Case{Attrs: graph.None{}, In: []graph.Tensor{y, r.F32(n, d)}}
	})
}

func crossEntropy(r *Rand) []Case {
	cs := overMatrices(func(n, d int) Case {
		t := r.I32(0, d, n)
		for i := range t.I32() {
			if r.IntN(4) == 0 {
				t.I32()[i] = ops.IgnoreTarget
			}
		}
		return Case{Attrs: ops.IgnoreAttrs{Ignore: ops.IgnoreTarget}, In: []graph.Tensor{r.F32(n, d), t}}
	})
	return append(cs, Case{Attrs: ops.IgnoreAttrs{Ignore: 1}, In: []graph.Tensor{r.F32(3, 20), r.I32(1, 2, 3)}, Note: "all ignored"})
}

func crossEntropyGrad(r *Rand) []Case {
	var cs []Case
	for _, c := range crossEntropy(r) {
		loss, lse := graph.NewTensor(graph.F32), graph.NewTensor(graph.F32, c.In[0].Dims[0])
		if err := ops.CrossEntropyOp.Run(c.Attrs, c.In, []graph.Tensor{loss, lse}); err == nil {
			c.In = append(c.In, lse, r.Fill(0.7))
			cs = append(cs, c)
		}
	}
	return cs
}
