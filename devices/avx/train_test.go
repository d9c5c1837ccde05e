package avx

import (
	"fmt"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// attentionCases are steps of several sequences: in order, out of order,
// interleaved, with windows.
func attentionCases(t *testing.T) []opCase {
	type shape struct {
		s, heads, kv, hd, window int
		mixed                    bool
		lens                     []int
	}
	var cs []opCase
	for i, d := range []shape{
		{s: 1, heads: 1, kv: 1, hd: 2, lens: []int{1}},
		{s: 40, heads: 4, kv: 2, hd: 8, lens: []int{13, 27}},
		{s: 150, heads: 2, kv: 1, hd: 20, lens: []int{100, 1, 49}},
		{s: 150, heads: 2, kv: 2, hd: 16, window: 9, lens: []int{150}},
		{s: 70, heads: 3, kv: 1, hd: 8, mixed: true, lens: []int{30, 40}},
		{s: 70, heads: 2, kv: 2, hd: 8, window: 5, mixed: true, lens: []int{30, 40}},
	} {
		seq, pos := graph.NewTensor(graph.I32, d.s), graph.NewTensor(graph.I32, d.s)
		at := 0
		for j, n := range d.lens {
			for l := range n {
				seq.I32()[at], pos.I32()[at] = int32(j+2), int32(l)
				at++
			}
		}
		if d.mixed {
			rng(3).Shuffle(d.s, func(a, b int) {
				s, p := seq.I32(), pos.I32()
				s[a], s[b], p[a], p[b] = s[b], s[a], p[b], p[a]
			})
		}
		a := ops.AttentionAttrs{Heads: d.heads, KVHeads: d.kv, Window: d.window}
		q, k, v := floats(uint64(i), d.s, d.heads*d.hd), floats(uint64(i+3), d.s, d.kv*d.hd), floats(uint64(i+4), d.s, d.kv*d.hd)
		fwd := opCase{name: fmt.Sprintf("attention %v", d), op: ops.AttentionOp.OpDef, attrs: a, in: []graph.Tensor{q, k, v, seq, pos}, tol: 3e-6}
		out := fwd.reference(t)
		cs = append(cs, fwd, opCase{name: fmt.Sprintf("attention.grad %v", d), op: ops.AttentionGradOp.OpDef, attrs: a,
			in: []graph.Tensor{q, k, v, out[0], out[1], floats(uint64(i+5), d.s, d.heads*d.hd), seq, pos}, tol: 1e-5})
	}
	return cs
}

func lossCases(t *testing.T) []opCase {
	var cs []opCase
	for i, d := range [][2]int{{1, 2}, {5, 33}, {40, 512}, {3, 20000}} {
		s, v := d[0], d[1]
		logits, targets := floats(uint64(i), s, v), ints(uint64(i), 0, v-1, s)
		if s > 2 {
			targets.I32()[1] = ops.IgnoreTarget
		}
		a := ops.IgnoreAttrs{Ignore: ops.IgnoreTarget}
		fwd := opCase{name: fmt.Sprintf("cross_entropy %v", d), op: ops.CrossEntropyOp.OpDef, attrs: a, in: []graph.Tensor{logits, targets}, tol: 2e-6}
		out := fwd.reference(t)
		cs = append(cs, fwd, opCase{name: fmt.Sprintf("cross_entropy.grad %v", d), op: ops.CrossEntropyGradOp.OpDef, attrs: a,
			in: []graph.Tensor{logits, targets, out[1], scalar(1.5)}, tol: 2e-6})
	}
	none := graph.FromI32([]int32{-100, -100}, 2)
	return append(cs, opCase{name: "cross_entropy without targets", op: ops.CrossEntropyOp.OpDef, attrs: ops.IgnoreAttrs{Ignore: -100}, in: []graph.Tensor{floats(1, 2, 9), none}, tol: 2e-6})
}

func optimizerCases() []opCase {
	var cs []opCase
	none := graph.None{}
	for i, n := range []int{1, 9, 1000, 50000} {
		x := floats(uint64(i), n)
		size := fmt.Sprintf(" %d", n)
		v := floats(uint64(i+3), n)
		for j, f := range v.F32() {
			v.F32()[j] = f * f
		}
		hyper := graph.FromF32([]float32{1e-2, 0.1, 0.3, 0.2}, 4)
		cs = append(cs,
			opCase{name: "sum" + size, op: ops.SumOp.OpDef, attrs: none, in: []graph.Tensor{x}, tol: 1e-5},
			opCase{name: "sqsum" + size, op: ops.SqSumOp.OpDef, attrs: none, in: []graph.Tensor{x}, tol: 1e-5},
			opCase{name: "adamw" + size, op: ops.AdamWOp.OpDef, attrs: ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1},
				in: []graph.Tensor{x, floats(uint64(i+1), n), floats(uint64(i+2), n), v, hyper, scalar(0.7)}, tol: 1e-6},
		)
	}
	for _, limit := range []float64{0, 1, 100} {
		cs = append(cs, opCase{name: fmt.Sprintf("clip %v", limit), op: ops.ClipOp.OpDef, attrs: ops.ClipAttrs{Max: limit},
			in: []graph.Tensor{scalar(3), scalar(4), scalar(0)}, tol: 1e-7})
	}
	return cs
}
