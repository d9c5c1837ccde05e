package conformance

import (
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/screen"
)

func keepTop(r *Rand) []Case {
	var cs []Case
	for _, n := range []int{1, 2, 9, 64, 300} {
		x := r.F32(5, n)
		for i := range x.F32() {
			x.F32()[i] = float32(math.Round(float64(x.F32()[i]) * 4)) // many are equal
		}
		cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{x, graph.FromI32([]int32{1, 0, 2, int32(n), 40}, 5)}, Rows: []int{0, 1}})
	}
	return cs
}

func screenPlanes(r *Rand) []Case {
	var cs []Case
	for _, m := range matrices {
		for _, elem := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
			cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{r.Float(elem, m[0], m[1])}})
		}
	}
	odd := r.F32(6, 100)
	copy(odd.F32()[0:], []float32{float32(math.NaN())})
	copy(odd.F32()[100:], []float32{float32(math.Inf(-1))})
	clear(odd.F32()[200:300])
	for i := range 100 {
		odd.F32()[300+i] = 1e-40
		odd.F32()[400+i] = 3e38
	}
	return append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{odd}, Note: "NaN, infinite, zero, tiny and huge rows"})
}

func listTop(r *Rand) []Case {
	var cs []Case
	for _, c := range keepTop(r) {
		x := c.In[0].F32()
		x[0], x[len(x)-1] = float32(math.NaN()), float32(math.Inf(-1))
		c.Attrs = screen.ListAttrs{Most: 1 + r.IntN(20)}
		cs = append(cs, c)
	}
	return cs
}

// screenDraw is lists with equal and infinite logits, short and empty ones, and every
// way to draw.
func screenDraw(r *Rand) []Case {
	var cs []Case
	for _, most := range []int{1, 7, 32, 33, 64} {
		const rows = 40
		x := r.F32(rows, 300)
		for i := range x.F32() {
			x.F32()[i] *= 4
		}
		copy(x.F32(), []float32{float32(math.Inf(1)), float32(math.Inf(1))})
		for i := range 5 * 300 { // few numbers, then none
			x.F32()[300+i] = float32(math.NaN())
			if i < 4*300 && r.IntN(100) == 0 {
				x.F32()[300+i] = float32(r.IntN(3))
			}
		}
		k := graph.NewTensor(graph.I32, rows)
		how := graph.NewTensor(graph.I32, rows, screen.DrawWords)
		for i := range rows {
			k.I32()[i] = int32(r.IntN(most + 1))
			one := func(vs ...float32) float32 { return vs[r.IntN(len(vs))] }
			screen.Draw{Seed: r.Uint64(), Count: r.Uint64() >> r.IntN(64), Temperature: one(0, 0.3, 0.8, 1, 5, 1e-30, 1e30), TopP: one(0, 0.1, 0.5, 0.95, 1),
				MinP: one(0, 0, 0.05, 1)}.Put(how.I32()[i*screen.DrawWords:])
		}
		list := []graph.Tensor{graph.NewTensor(graph.I32, rows, most), graph.NewTensor(graph.F32, rows, most)}
		if err := screen.ListOp.Run(screen.ListAttrs{Most: most}, []graph.Tensor{x, k}, list); err != nil {
			panic(err) // the suite's own mistake
		}
		cs = append(cs, Case{Attrs: graph.None{}, In: append(list, how), Rows: []int{0, 1, 2}})
	}
	return cs
}

// screenLikeliest are the cases of screenTop in which which token comes before
// which does not hang on the order of a sum.
func screenLikeliest(r *Rand) []Case {
	var cs []Case
	for _, c := range screenTop(r) {
		c.Attrs = screen.ListAttrs{Most: 1 + r.IntN(50)}
		cs = append(cs, c)
	}
	return cs
}

// screenTop is heads whose winners are clear, close and equal, and inputs for
// which no row can be left out.
func screenTop(r *Rand) []Case {
	var cs []Case
	add := func(note string, x, w graph.Tensor, k ...int32) {
		in := []graph.Tensor{x, graph.FromI32(k, len(k)), w}
		var planes []graph.Tensor
		types, err := screen.PlanesOp.InferTypes(graph.None{}, []graph.Type{w.Type()})
		for _, t := range types {
			d, _ := t.Shape.Eval(nil)
			planes = append(planes, graph.NewTensor(t.Elem, d...))
		}
		if err == nil {
			err = screen.PlanesOp.Run(graph.None{}, []graph.Tensor{w}, planes)
		}
		if err != nil {
			panic(err) // the suite's own mistake
		}
		cs = append(cs, Case{Attrs: graph.None{}, In: append(in, planes...), Rows: []int{0, 1}, Note: note})
	}
	for _, elem := range []graph.DType{graph.BF16, graph.F16} {
		for _, d := range [][2]int{{1, 1}, {3, 7}, {257, 64}, {600, 100}, {1000, 256}, {520, 300}} {
			add("", r.F32(3, d[1]), r.Half(elem, d[0], d[1]), 1, 5, 40)
		}
		add("many tokens", r.F32(19, 200), r.Half(elem, 300, 200), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
		// Small integers have exact sums, so that ties are ties in every order.
		w, x := graph.NewTensor(elem, 700, 130), graph.NewTensor(graph.F32, 3, 130)
		for i := range w.U16() {
			v := float32(r.IntN(5) - 2)
			if elem == graph.BF16 {
				w.U16()[i] = graph.F32ToBF16(v)
			} else {
				w.U16()[i] = graph.F32ToF16(v)
			}
		}
		for i := range x.F32() {
			x.F32()[i] = float32(r.IntN(7) - 3)
		}
		for i := 0; i < 700; i += 3 {
			copy(w.U16()[i*130:(i+1)*130], w.U16()[:130])
		}
		add("every third row is the first", x, w, 1, 3, 100)
		clear(x.F32()[:130])
		add("a token of zeros", x, w, 1, 0, 1000)
		x = r.F32(3, 130)
		x.F32()[7], x.F32()[130+9] = float32(math.NaN()), float32(math.Inf(1))
		add("tokens that are not numbers", x, w, 1, 2, 3)
		x = r.F32(3, 130)
		x.F32()[3], x.F32()[260] = 4000, -1e30
		add("one activation outweighs the others", x, w, 1, 2, 3)
		w = r.Half(elem, 400, 130)
		w.U16()[5*130+1], w.U16()[6*130+2], w.U16()[7*130+3] = 0x7fff, 0x7f80, 0xff80
		if elem == graph.F16 {
			w.U16()[6*130+2], w.U16()[7*130+3] = 0x7c00, 0xfc00
		}
		add("rows that are not numbers", r.F32(3, 130), w, 1, 2, 3)
	}
	return cs
}
