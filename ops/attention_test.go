package ops_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

// naiveAttention is the definition, written without the reference's helpers:
// for each token and head a softmax over the tokens it may see.
func naiveAttention(a ops.AttentionAttrs, q, k, v graph.Tensor, seq, pos []int32) (o, lse []float32) {
	s, hd := q.Dims[0], q.Dims[1]/a.Heads
	at := func(x graph.Tensor, token, head, c int) float64 {
		return float64(x.F32()[token*x.Dims[1]+head*hd+c])
	}
	for i := range s {
		for h := range a.Heads {
			kvh := h / (a.Heads / a.KVHeads)
			weight := map[int]float64{}
			var sum float64
			for j := range s {
				near := a.Window <= 0 || pos[i]-pos[j] < int32(a.Window)
				if seq[i] != seq[j] || pos[j] > pos[i] || !near {
					continue
				}
				var dot float64
				for c := range hd {
					dot += at(q, i, h, c) * at(k, j, kvh, c)
				}
				weight[j] = math.Exp(dot / math.Sqrt(float64(hd)))
				sum += weight[j]
			}
			for c := range hd {
				var x float64
				for j, w := range weight {
					x += w / sum * at(v, j, kvh, c)
				}
				o = append(o, float32(x))
			}
			lse = append(lse, float32(math.Log(sum)))
		}
	}
	return o, lse
}

// ragged returns tokens of several sequences in random order; positions of one
// sequence are 0..n-1.
func ragged(r *rand.Rand, lens ...int) (seq, pos graph.Tensor) {
	var s, p []int32
	for i, n := range lens {
		for j := range n {
			s, p = append(s, int32(i)), append(p, int32(j))
		}
	}
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i]; p[i], p[j] = p[j], p[i] })
	return graph.FromI32(s, len(s)), graph.FromI32(p, len(p))
}

var attentions = []struct {
	a  ops.AttentionAttrs
	hd int
}{
	{ops.AttentionAttrs{Heads: 1, KVHeads: 1}, 1},
	{ops.AttentionAttrs{Heads: 4, KVHeads: 4}, 3},
	{ops.AttentionAttrs{Heads: 4, KVHeads: 2}, 5},
	{ops.AttentionAttrs{Heads: 5, KVHeads: 1}, 4},
	{ops.AttentionAttrs{Heads: 4, KVHeads: 2, Window: 1}, 3},
	{ops.AttentionAttrs{Heads: 6, KVHeads: 3, Window: 3}, 2},
}

func TestAttentionIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, tt := range attentions {
		seq, pos := ragged(r, 4, 1, 6)
		q := opcheck.Normal(r, 11, tt.a.Heads*tt.hd)
		k, v := opcheck.Normal(r, 11, tt.a.KVHeads*tt.hd), opcheck.Normal(r, 11, tt.a.KVHeads*tt.hd)
		out := run(t, ops.AttentionOp.OpDef, tt.a, q, k, v, seq, pos)
		o, lse := naiveAttention(tt.a, q, k, v, seq.I32(), pos.I32())
		near(t, "o", o, out[0].F32(), 2e-7)
		near(t, "lse", lse, out[1].F32(), 2e-7)
	}
}

// TestAttentionIsStable uses scores whose exponentials overflow.
func TestAttentionIsStable(t *testing.T) {
	a := ops.AttentionAttrs{Heads: 1, KVHeads: 1}
	q := graph.FromF32([]float32{100, 100}, 2, 1)
	k := graph.FromF32([]float32{50, -50}, 2, 1)
	v := graph.FromF32([]float32{3, 4}, 2, 1)
	seq, pos := graph.FromI32([]int32{0, 0}, 2), graph.FromI32([]int32{0, 1}, 2)
	out := run(t, ops.AttentionOp.OpDef, a, q, k, v, seq, pos)
	if got := out[0].F32(); got[0] != 3 || got[1] != 3 {
		t.Errorf("o is %v, want [3 3]", got)
	}
	if got := out[1].F32(); got[1] != 5000 {
		t.Errorf("lse is %v, want 5000", got)
	}
}

// TestCachedAttentionIsAttention appends tokens to a paged cache in chunks and
// attends after each; every token must see what it sees in one ragged step. The
// blocks are scattered, and garbage lies in the unused ones.
func TestCachedAttentionIsAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for _, tt := range attentions {
		for _, size := range []int{1, 2, 3, 16} {
			lens := []int{5, 1, 7}
			const width = 8
			kvd := tt.a.KVHeads * tt.hd
			blocks := len(lens) * width
			perm := r.Perm(blocks)
			table := graph.NewTensor(graph.I32, len(lens), width)
			for i := range perm {
				table.I32()[i] = int32(perm[i])
			}
			kc, vc := opcheck.Normal(r, blocks, size, kvd), opcheck.Normal(r, blocks, size, kvd)

			// All tokens, sequence by sequence, in order of position.
			var seqs, poss []int32
			for i, n := range lens {
				for j := range n {
					seqs, poss = append(seqs, int32(i)), append(poss, int32(j))
				}
			}
			n := len(seqs)
			q, k, v := opcheck.Normal(r, n, tt.a.Heads*tt.hd), opcheck.Normal(r, n, kvd), opcheck.Normal(r, n, kvd)
			whole := run(t, ops.AttentionOp.OpDef, tt.a, q, k, v, graph.FromI32(seqs, n), graph.FromI32(poss, n))[0]

			for from := 0; from < n; {
				to := min(from+1+r.IntN(4), n)
				part := func(x graph.Tensor) graph.Tensor {
					d := x.Dims[1]
					return graph.FromF32(x.F32()[from*d:to*d], to-from, d)
				}
				seq, pos := graph.FromI32(seqs[from:to], to-from), graph.FromI32(poss[from:to], to-from)
				kv := run(t, ops.KVAppendOp.OpDef, graph.None{}, kc, vc, part(k), part(v), seq, pos, table)
				kc, vc = kv[0], kv[1]
				got := run(t, ops.CachedAttentionOp.OpDef, tt.a, part(q), kc, vc, seq, pos, table)[0]
				near(t, "cached", part(whole).F32(), got.F32(), 2e-7)
				from = to
			}
		}
	}
}

func TestKVAppendWritesOnlyItsRows(t *testing.T) {
	for _, elem := range []graph.DType{graph.F32, graph.F16, graph.BF16} {
		kc, vc := graph.NewTensor(elem, 3, 2, 2), graph.NewTensor(elem, 3, 2, 2)
		table := graph.FromI32([]int32{2, 0, 1, 1}, 2, 2)
		k := graph.FromF32([]float32{1, 2, 3, 4.0625}, 2, 2)
		v := graph.FromF32([]float32{5, 6, 7, 8}, 2, 2)
		seq, pos := graph.FromI32([]int32{0, 1}, 2), graph.FromI32([]int32{1, 2}, 2)
		out := run(t, ops.KVAppendOp.OpDef, graph.None{}, kc, vc, k, v, seq, pos, table)
		// (0,1) is block 2, slot 1: row 5; (1,2) is block 1, slot 0: row 2.
		for c, want := range [][]float64{
			{0, 0, 0, 0, 3, 4.0625, 0, 0, 0, 0, 1, 2},
			{0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 5, 6},
		} {
			for i, w := range want {
				if got := out[c].FloatAt(i); got != w {
					t.Errorf("%s cache %d [%d] is %g, want %g", elem, c, i, got, w)
				}
			}
		}
	}
}

func TestPages(t *testing.T) {
	p := ops.Pages{Blocks: 3, Size: 2, Width: 2, Table: []int32{2, 0, 1, 3}}
	for _, tt := range []struct {
		seq, pos, want int
		err            string
	}{
		{0, 0, 4, ""}, {0, 1, 5, ""}, {0, 2, 0, ""}, {0, 3, 1, ""}, {1, 0, 2, ""},
		{1, 2, 0, "block 3 is outside the cache of 3"},
		{0, 4, 0, "outside the block table (4 positions a sequence)"},
		{0, -1, 0, "outside the block table"},
		{2, 0, 0, "outside the block table"},
		{-1, 0, 0, "outside the block table"},
		{math.MaxInt, 0, 0, "outside the block table"},
	} {
		got, err := p.Row(tt.seq, tt.pos)
		if tt.err == "" && (err != nil || got != tt.want) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("Row(%d, %d) is %d, %v; want %d, %q", tt.seq, tt.pos, got, err, tt.want, tt.err)
		}
	}
	if _, err := (ops.Pages{Blocks: 1, Width: 1, Table: []int32{0}}).Row(0, 0); err == nil {
		t.Error("blocks of no positions have a row")
	}
}

func TestCachedAttentionRefusesBadPositions(t *testing.T) {
	a := ops.AttentionAttrs{Heads: 1, KVHeads: 1}
	q, c := graph.NewTensor(graph.F32, 1, 1), graph.NewTensor(graph.F32, 1, 2, 1)
	table := graph.FromI32([]int32{0}, 1, 1)
	for _, p := range [][2]int32{{0, -1}, {0, 2}, {1, 0}, {-1, 0}, {0, math.MinInt32}} {
		out := graph.NewTensor(graph.F32, 1, 1)
		in := []graph.Tensor{q, c, c, graph.FromI32(p[:1], 1), graph.FromI32(p[1:], 1), table}
		if err := ops.CachedAttentionOp.Run(a, in, []graph.Tensor{out}); err == nil {
			t.Errorf("sequence %d, position %d gives %v", p[0], p[1], out.F32())
		}
	}
}
