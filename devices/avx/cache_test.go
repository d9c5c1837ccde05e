package avx

import (
	"fmt"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// cacheCases appends to a paged cache and attends over it: sequences of
// different length in one step, blocks in disorder, windows, spans.
func cacheCases() []opCase {
	var cs []opCase
	type shape struct {
		s, heads, kv, hd, blocks, size, seqs, window, far int
	}
	for i, d := range []shape{
		{s: 1, heads: 1, kv: 1, hd: 2, blocks: 4, size: 4, seqs: 1, far: 9},
		{s: 5, heads: 4, kv: 2, hd: 8, blocks: 6, size: 16, seqs: 3, far: 30},
		{s: 1, heads: 4, kv: 1, hd: 20, blocks: 40, size: 16, seqs: 1, far: 600},
		{s: 11, heads: 4, kv: 2, hd: 16, blocks: 40, size: 16, seqs: 1, far: 600},
		{s: 40, heads: 2, kv: 2, hd: 12, blocks: 12, size: 64, seqs: 2, far: 700},
		{s: 30, heads: 6, kv: 3, hd: 8, blocks: 40, size: 16, seqs: 1, window: 50, far: 590},
		{s: 2, heads: 2, kv: 1, hd: 8, blocks: 40, size: 16, seqs: 2, window: 300, far: 620},
	} {
		perSeq := d.blocks
		table := graph.NewTensor(graph.I32, d.seqs, perSeq)
		for j := range table.I32() {
			table.I32()[j] = int32((j*7 + 3) % d.blocks) // sequences may share blocks: only reads and order matter
		}
		if d.blocks%7 == 0 {
			panic("the table must be a permutation")
		}
		seq, pos := graph.NewTensor(graph.I32, d.s), graph.NewTensor(graph.I32, d.s)
		for j := range seq.I32() {
			seq.I32()[j] = int32(j * d.seqs / d.s)
			pos.I32()[j] = int32(d.far - d.s + j)
		}
		pos.I32()[0] = min(pos.I32()[0], 2)
		w := d.kv * d.hd
		q, k, v := floats(uint64(i), d.s, d.heads*d.hd), floats(uint64(i+3), d.s, w), floats(uint64(i+4), d.s, w)
		a := ops.AttentionAttrs{Heads: d.heads, KVHeads: d.kv, Window: d.window}
		for _, e := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
			kc, vc := floats(uint64(i+1), d.blocks, d.size, w), floats(uint64(i+2), d.blocks, d.size, w)
			if e != graph.F32 {
				kc, vc = halves(e, kc), halves(e, vc)
			}
			name := fmt.Sprintf(" %s %v", e, d)
			cs = append(cs,
				opCase{name: "attention.cached" + name, op: ops.CachedAttentionOp.OpDef, attrs: a, in: []graph.Tensor{q, kc, vc, seq, pos, table}, tol: 3e-6},
				opCase{name: "kv.append" + name, op: ops.KVAppendOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{kc, vc, k, v, seq, pos, table}},
				opCase{name: "rope_append" + name, op: bitlinear.RoPEAppendOp.OpDef, attrs: bitlinear.RoPEAppendAttrs{Theta: 10000, HeadDim: d.hd},
					in: []graph.Tensor{kc, vc, q, k, v, seq, pos, table}},
			)
		}
	}
	return cs
}

// TestAttendAlone compares tokens attended together with the same tokens alone,
// bit for bit: together they go through packed products, alone through spans of
// their own.
func TestAttendAlone(t *testing.T) {
	const s, heads, kv, hd, blocks, size = 70, 6, 2, 24, 50, 16
	table := graph.NewTensor(graph.I32, 2, blocks/2)
	for i := range table.I32() {
		table.I32()[i] = int32(i * 7 % blocks)
	}
	for _, window := range []int{0, 40, 300} {
		a := ops.AttentionAttrs{Heads: heads, KVHeads: kv, Window: window}
		for _, e := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
			kc, vc := floats(1, blocks, size, kv*hd), floats(2, blocks, size, kv*hd)
			if e != graph.F32 {
				kc, vc = halves(e, kc), halves(e, vc)
			}
			q, seq, pos := floats(3, s, heads*hd), graph.NewTensor(graph.I32, s), graph.NewTensor(graph.I32, s)
			for i := range s {
				seq.I32()[i], pos.I32()[i] = int32(i/40), int32(310+i)
			}
			together := opCase{name: "together", op: ops.CachedAttentionOp.OpDef, attrs: a, in: []graph.Tensor{q, kc, vc, seq, pos, table}}
			for _, same := range targets(t) {
				d := same[0].dev
				k, _, err := devices.NewRegistry(d).Choose(&devices.Call{Op: together.op, Attrs: a, In: operands(together.in), Out: operands(together.outs(t))})
				if err != nil {
					t.Fatal(err)
				}
				all, err := together.run(t, d, k, false)
				if err != nil {
					t.Fatal(err)
				}
				for i := range s {
					alone := together
					w := heads * hd
					alone.in = []graph.Tensor{graph.FromF32(q.F32()[i*w:(i+1)*w], 1, w), kc, vc,
						graph.FromI32(seq.I32()[i:i+1], 1), graph.FromI32(pos.I32()[i:i+1], 1), table}
					got, err := alone.run(t, d, k, false)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got[0].F32(), all[0].F32()[i*w:(i+1)*w]) {
						t.Fatalf("%s, cache %s, window %d: token %d alone has other bits than in a step of %d", d.Name(), e, window, i, s)
					}
				}
			}
		}
	}
}
