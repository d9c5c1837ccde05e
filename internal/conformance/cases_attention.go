package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// heads are the shapes of grouped-query attention: heads, key/value heads,
// width of one.
var heads = [][3]int{{1, 1, 2}, {2, 2, 16}, {4, 2, 8}, {4, 1, 64}, {6, 2, 24}, {5, 5, 128}}

// tokens draws a ragged step over up to three sequences: each token's sequence
// and position, in an order that mixes them.
func (r *Rand) tokens(n int) (seq, pos graph.Tensor) {
	seq, pos = graph.NewTensor(graph.I32, n), graph.NewTensor(graph.I32, n)
	var next [3]int32
	for i := range n {
		s := r.IntN(3)
		seq.I32()[i], pos.I32()[i] = int32(s), next[s]
		next[s]++
	}
	return seq, pos
}

func attention(r *Rand) []Case {
	var cs []Case
	for _, h := range heads {
		for _, n := range []int{1, 2, 9, 40} {
			for _, window := range []int{0, 3} {
				seq, pos := r.tokens(n)
				q, kv := h[0]*h[2], h[1]*h[2]
				cs = append(cs, Case{Attrs: ops.AttentionAttrs{Heads: h[0], KVHeads: h[1], Window: window},
					In: []graph.Tensor{r.F32(n, q), r.F32(n, kv), r.F32(n, kv), seq, pos}})
			}
		}
	}
	// Training batches: whole sequences one after the other.
	seq, pos := graph.NewTensor(graph.I32, 96), graph.NewTensor(graph.I32, 96)
	for i := range 96 {
		seq.I32()[i], pos.I32()[i] = int32(i/32), int32(i%32)
	}
	cs = append(cs, Case{Attrs: ops.AttentionAttrs{Heads: 4, KVHeads: 2}, Note: "whole sequences",
		In: []graph.Tensor{r.F32(96, 64), r.F32(96, 32), r.F32(96, 32), seq, pos}})
	// More than a block of 64 tokens each way, and blocks that do not meet.
	seq, pos = graph.NewTensor(graph.I32, 330), graph.NewTensor(graph.I32, 330)
	for i := range 330 {
		seq.I32()[i], pos.I32()[i] = int32(i/200), int32(i%200)
	}
	for _, window := range []int{0, 70} {
		cs = append(cs, Case{Attrs: ops.AttentionAttrs{Heads: 2, KVHeads: 1, Window: window}, Note: "long sequences",
			In: []graph.Tensor{r.F32(330, 32), r.F32(330, 16), r.F32(330, 16), seq, pos}})
	}
	return cs
}

func attentionGrad(r *Rand) []Case {
	var cs []Case
	for _, c := range attention(r) {
		a := c.Attrs.(ops.AttentionAttrs)
		o, lse := graph.NewTensor(graph.F32, c.In[0].Dims...), graph.NewTensor(graph.F32, c.In[0].Dims[0], a.Heads)
		if err := ops.AttentionOp.Run(a, c.In, []graph.Tensor{o, lse}); err == nil {
			c.In = []graph.Tensor{c.In[0], c.In[1], c.In[2], o, lse, r.F32(o.Dims...), c.In[3], c.In[4]}
			cs = append(cs, c)
		}
	}
	return cs
}

// dropping adds dropout to a case of attention: half of the batches begin at a row
// that is no whole number of eights.
func (r *Rand) dropping(c Case) (a ops.AttentionDropoutAttrs, at graph.Tensor) {
	base := c.Attrs.(ops.AttentionAttrs)
	row := r.Int32N(1<<17) * 8
	if r.IntN(2) == 0 {
		row += r.Int32N(8)
	}
	return ops.AttentionDropoutAttrs{Heads: base.Heads, KVHeads: base.KVHeads, Window: base.Window,
		P: float64(r.IntN(60)) / 100, Seed: int(r.Uint64()), Stream: r.IntN(100)}, graph.FromI32([]int32{r.Int32(), row}, 2)
}

func attentionDropout(r *Rand) []Case {
	cs := attention(r)
	for i, c := range cs {
		a, at := r.dropping(c)
		cs[i].Attrs, cs[i].In = a, []graph.Tensor{c.In[0], c.In[1], c.In[2], at, c.In[3], c.In[4]}
	}
	return cs
}

func attentionDropoutGrad(r *Rand) []Case {
	var cs []Case
	for _, c := range attentionDropout(r) {
		a := c.Attrs.(ops.AttentionDropoutAttrs)
		o, lse := graph.NewTensor(graph.F32, c.In[0].Dims...), graph.NewTensor(graph.F32, c.In[0].Dims[0], a.Heads)
		if err := ops.AttentionDropoutOp.Run(a, c.In, []graph.Tensor{o, lse}); err == nil {
			c.In = []graph.Tensor{c.In[0], c.In[1], c.In[2], o, lse, r.F32(o.Dims...), c.In[3], c.In[4], c.In[5]}
			cs = append(cs, c)
		}
	}
	return cs
}

// pages draws a block table for three sequences of up to width·size positions,
// whose blocks lie in any order.
func (r *Rand) pages(size, width int) (table graph.Tensor, blocks int) {
	blocks = 3*width + 2
	table = graph.NewTensor(graph.I32, 3, width)
	for i, b := range r.Perm(blocks)[:3*width] {
		table.I32()[i] = int32(b)
	}
	return table, blocks
}

func cachedAttention(r *Rand) []Case {
	var cs []Case
	for _, h := range heads {
		for _, n := range []int{1, 3, 17} {
			for _, elem := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
				size := []int{1, 4, 16}[r.IntN(3)]
				width := 48 / size
				table, blocks := r.pages(size, width)
				a := ops.AttentionAttrs{Heads: h[0], KVHeads: h[1], Window: r.IntN(2) * 5}
				cs = append(cs, Case{Attrs: a, Rows: []int{0, 3, 4}, In: []graph.Tensor{
					r.F32(n, h[0]*h[2]), r.Float(elem, blocks, size, h[1]*h[2]), r.Float(elem, blocks, size, h[1]*h[2]),
					r.I32(0, 3, n), r.I32(0, 48, n), table}})
			}
		}
	}
	// Long sequences: a prompt after 150 positions, decoding, and both mixed.
	for _, h := range [][3]int{{4, 1, 64}, {2, 2, 128}, {6, 2, 40}} {
		for _, window := range []int{0, 100} {
			for _, n := range []int{2, 70} {
				table, blocks := r.pages(16, 20)
				seq, pos := graph.NewTensor(graph.I32, n), graph.NewTensor(graph.I32, n)
				for i := range n {
					seq.I32()[i], pos.I32()[i] = 1, int32(150+i)
					if n == 2 || i%20 == 19 {
						seq.I32()[i], pos.I32()[i] = int32(2*r.IntN(2)), int32(r.IntN(320))
					}
				}
				cs = append(cs, Case{Attrs: ops.AttentionAttrs{Heads: h[0], KVHeads: h[1], Window: window}, Rows: []int{0, 3, 4}, Note: "long",
					In: []graph.Tensor{r.F32(n, h[0]*h[2]), r.Float(graph.F16, blocks, 16, h[1]*h[2]), r.Float(graph.F16, blocks, 16, h[1]*h[2]), seq, pos, table}})
			}
		}
	}
	return cs
}

func kvAppend(r *Rand) []Case {
	var cs []Case
	for _, w := range []int{1, 7, 32, 64, 100} {
		for _, n := range []int{0, 1, 2, 19} {
			for _, elem := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
				table, blocks := r.pages(4, 7)
				seq, pos := r.tokens(n)
				cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{
					r.Float(elem, blocks, 4, w), r.Float(elem, blocks, 4, w), r.F32(n, w), r.F32(n, w), seq, pos, table}})
			}
		}
	}
	return cs
}

// codeHeads are heads whose channels are a multiple of four, as a cache of codes
// needs.
var codeHeads = [][3]int{{1, 1, 4}, {2, 2, 16}, {4, 2, 8}, {4, 1, 64}, {6, 2, 24}, {10, 2, 100}, {20, 5, 128}, {2, 1, 512}}

func cachedAttentionCodes(r *Rand) []Case {
	var cs []Case
	for _, h := range codeHeads {
		for _, n := range []int{1, 3, 17} {
			size := []int{4, 12, 32}[r.IntN(3)]
			width := 96 / size
			table, blocks := r.pages(size, width)
			a := ops.AttentionAttrs{Heads: h[0], KVHeads: h[1], Window: r.IntN(2) * 5}
			cs = append(cs, Case{Attrs: a, Rows: []int{0, 5, 6}, In: []graph.Tensor{
				r.F32(n, h[0]*h[2]), r.codes(blocks, size, h[1]*h[2]), r.steps(blocks, size, h[1]), r.codes(blocks, size, h[1]*h[2]), r.steps(blocks, size, h[1]),
				r.I32(0, 3, n), r.I32(0, 96, n), table}})
		}
	}
	zero := cs[3]
	zero.In = append([]graph.Tensor(nil), zero.In...)
	zero.In[4], zero.Note = graph.NewTensor(graph.F32, zero.In[4].Dims...), "values without a step"
	return append(cs, zero)
}

// codes draws what the quantizer of activations makes: -128 is not among it.
func (r *Rand) codes(dims ...int) graph.Tensor {
	t := r.I8(dims...)
	for i, v := range t.I8() {
		t.I8()[i] = max(v, -127)
	}
	return t
}

func (r *Rand) steps(dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = (0.5 + r.Float32()) / 50
	}
	return t
}

func kvAppendCodes(r *Rand) []Case {
	var cs []Case
	for _, h := range codeHeads {
		for _, n := range []int{0, 1, 2, 19} {
			const size = 8
			table, blocks := r.pages(size, 4)
			seq, pos := r.tokens(n)
			w := h[1] * h[2]
			cs = append(cs, Case{Attrs: graph.None{}, In: []graph.Tensor{
				r.codes(blocks, size, w), r.steps(blocks, size, h[1]), r.codes(blocks, size, w), r.steps(blocks, size, h[1]),
				r.F32(n, w), r.F32(n, w), seq, pos, table}})
		}
	}
	return cs
}

func ropeAppend(r *Rand) []Case {
	var cs []Case
	for _, h := range heads {
		for _, n := range []int{1, 6} {
			for _, elem := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
				table, blocks := r.pages(4, 5)
				seq, pos := r.tokens(n)
				kv := h[1] * h[2]
				cs = append(cs, Case{Attrs: bitlinear.RoPEAppendAttrs{Theta: 10000, HeadDim: h[2]}, In: []graph.Tensor{
					r.Float(elem, blocks, 4, kv), r.Float(elem, blocks, 4, kv), r.F32(n, h[0]*h[2]), r.F32(n, kv), r.F32(n, kv), seq, pos, table}})
			}
		}
	}
	return cs
}

// ropeAttend is steps of several sequences, each with a cache that is filled up to
// its tokens and tokens of its own, in any order: up to some blocks of keys. Many tokens, and
// many query heads of a key head, may have kernels of their own.
func ropeAttend(r *Rand) []Case {
	var cs []Case
	add := func(h [3]int, n int, elem graph.DType) {
		size := []int{4, 16, 32}[r.IntN(3)]
		width := 160 / size
		table, blocks := r.pages(size, width)
		seq, pos := r.tokens(n)
		var from [3]int
		for s := range from {
			from[s] = r.IntN(160 - n)
		}
		for i, s := range seq.I32() {
			pos.I32()[i] += int32(from[s])
		}
		kv := h[1] * h[2]
		a := bitlinear.RoPEAttendAttrs{Theta: 10000, HeadDim: h[2], Heads: h[0], KVHeads: h[1], Window: r.IntN(2) * 70}
		cs = append(cs, Case{Attrs: a, In: []graph.Tensor{
			r.Float(elem, blocks, size, kv), r.Float(elem, blocks, size, kv), r.F32(n, h[0]*h[2]), r.F32(n, kv), r.F32(n, kv), seq, pos, table}})
	}
	for _, h := range append(heads, [3]int{20, 5, 128}) {
		for _, n := range []int{1, 3, 17} {
			for _, elem := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
				add(h, n, elem)
			}
		}
	}
	for _, hd := range []int{64, 128} {
		add([3]int{8, 8, hd}, 32, graph.F16)
		add([3]int{12, 1, hd}, 2, graph.F16)
	}
	return cs
}
