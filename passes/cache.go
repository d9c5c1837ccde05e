package passes

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Cache describes the paged key/value cache: Blocks blocks of Size positions,
// shared by up to Seqs sequences of up to PerSeq·Size positions each.
type Cache struct {
	Seqs   int // most sequences alive at once
	Blocks int // in all
	PerSeq int // most blocks of one sequence
	Size   int // positions in a block
	// Elem is f32, f16, bf16, or i8 for codes with a step for each position and key
	// head; see ops.KVAppendCodesOp.
	Elem graph.DType
}

// NewCache returns a cache that holds seqs sequences of up to context positions
// at the same time.
func NewCache(seqs, context, blockSize int, elem graph.DType) Cache {
	per := (context + blockSize - 1) / blockSize
	return Cache{Seqs: seqs, Blocks: seqs * per, PerSeq: per, Size: blockSize, Elem: elem}
}

// Context is the most positions of one sequence.
func (c Cache) Context() int { return c.PerSeq * c.Size }

func (c Cache) check() error {
	if c.Seqs < 1 || c.Blocks < 1 || c.PerSeq < 1 || c.Size < 1 {
		return fmt.Errorf("cache of %d blocks of %d positions for %d sequences of %d blocks: all must be positive", c.Blocks, c.Size, c.Seqs, c.PerSeq)
	}
	if c.Elem == graph.I8 && c.Size%4 != 0 {
		return fmt.Errorf("cache of codes in blocks of %d positions: want a multiple of 4", c.Size)
	}
	return nil
}

// Names of the inputs that the cache and last-row passes add.
const (
	TableInput = "table" // i32[Seqs,PerSeq]: the cache block of each sequence's positions
	RowsInput  = "rows"  // i32[R]: which tokens' outputs are wanted
	RowsSym    = "R"
)

// StateName returns the name of a cache state for the i-th attention.
func (Cache) StateName(i int, kind string) string { return fmt.Sprintf("cache.%d.%s", i, kind) }

// KVCache replaces each attention by an append to a paged cache and an
// attention over it. Models never mention the cache.
func KVCache(c Cache) Pass {
	return Pass{"kv-cache", func(g *graph.Graph) (*graph.Graph, error) {
		if err := c.check(); err != nil {
			return nil, err
		}
		layer := 0
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			a, ok := ops.AttentionOp.Of(n)
			if !ok {
				return nil, false
			}
			in := rw.GetAll(n.In) // q, k, v, seq, pos
			width := in[1].Dim(1)
			state := func(kind string, elem graph.DType, width graph.Dim) graph.Value {
				return rw.B.State(c.StateName(layer, kind), elem, graph.C(c.Blocks), graph.C(c.Size), width)
			}
			table := rw.InputOnce(TableInput, graph.I32, graph.C(c.Seqs), graph.C(c.PerSeq))
			if c.Elem == graph.I8 {
				codes := func(kind string) (graph.Value, graph.Value) {
					return state(kind, graph.I8, width), state(kind+".step", graph.F32, graph.C(a.KVHeads))
				}
				kc, ks := codes("k")
				vc, vs := codes("v")
				kv := ops.KVAppendCodesOp.Emit(graph.None{}, kc, ks, vc, vs, in[1], in[2], in[3], in[4], table)
				layer++
				return ops.CachedAttentionCodesOp.Emit(a, in[0], kv[0], kv[1], kv[2], kv[3], in[3], in[4], table), true
			}
			kv := ops.KVAppendOp.Emit(graph.None{}, state("k", c.Elem, width), state("v", c.Elem, width), in[1], in[2], in[3], in[4], table)
			layer++
			return ops.CachedAttentionOp.Emit(a, in[0], kv[0], kv[1], in[3], in[4], table), true
		})
	}}
}

// LastRow computes the first output only for the tokens listed in a new input
// "rows". Selecting rows moves up through row-wise ops, so that the output head
// and the tail of the last layer are computed for those tokens alone. It does not move
// above ops listed in whole.
func LastRow(maxRows int, whole ...*graph.OpDef) Pass {
	return Pass{"last-row", func(g *graph.Graph) (*graph.Graph, error) {
		if len(g.Outs) == 0 {
			return nil, fmt.Errorf("the graph has no output")
		}
		only := rowOnly(g, whole)
		lead := leading(g.Outs[0].Type())
		out := g.Outs[0]
		memo := map[graph.Value]graph.Value{}
		var pick func(rw *graph.Rewriter, v graph.Value) graph.Value
		pick = func(rw *graph.Rewriter, v graph.Value) graph.Value {
			if r, ok := memo[v]; ok {
				return r
			}
			n := v.Node()
			if !only[n] {
				rows := rw.InputOnce(RowsInput, graph.I32, rw.B.Sym(RowsSym, 0, maxRows))
				memo[v] = ops.Rows(rw.Get(v), rows)
				return memo[v]
			}
			in := make([]graph.Value, len(n.In))
			for i, o := range n.In {
				if rowOperand(n, i, lead) {
					in[i] = pick(rw, o)
				} else {
					in[i] = rw.Get(o)
				}
			}
			var res []graph.Value
			rw.At(n, func() { res = rw.B.Emit(n.Op, n.Attrs, in...) })
			for i, r := range res {
				memo[n.Result(i)] = r
			}
			return memo[v]
		}
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			if !only[n] {
				return nil, false
			}
			if n == out.Node() {
				rw.Set(out, rw.B.Name(pick(rw, out), out.Hint()))
			}
			return nil, true
		})
	}}
}

func leading(t graph.Type) graph.Dim {
	if t.Rank() == 0 {
		return graph.Dim{}
	}
	return t.Shape[0]
}

// rowOperand reports whether operand i of n is read row by row.
func rowOperand(n *graph.Node, i int, lead graph.Dim) bool {
	if leading(n.In[i].Type()) != lead {
		return false
	}
	for _, r := range n.Op.Rowwise {
		if r == i {
			return true
		}
	}
	return false
}

// rowOnly finds the row-wise nodes whose results are needed for nothing but
// rows of the first output, without those of ops in whole.
func rowOnly(g *graph.Graph, whole []*graph.OpDef) map[*graph.Node]bool {
	only := map[*graph.Node]bool{}
	lead := leading(g.Outs[0].Type())
	if lead.Sym == "" {
		return only
	}
	uses := g.Uses()
	extra := map[graph.Value]bool{}
	for _, v := range g.Outs[1:] {
		extra[v] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		ok := len(n.Op.Rowwise) > 0 && len(n.Op.Updates) == 0 && !slices.Contains(whole, n.Op)
		reads := false
		for j := range n.In {
			reads = reads || rowOperand(n, j, lead)
		}
		ok = ok && reads
		for j, t := range n.Out {
			v := n.Result(j)
			if leading(t) != lead || extra[v] {
				ok = false
			}
			used := v == g.Outs[0]
			for _, u := range uses[v] {
				used = true
				for k, o := range u.In {
					if o == v && (!only[u] || !rowOperand(u, k, lead)) {
						ok = false
					}
				}
			}
			ok = ok && used
		}
		only[n] = ok
	}
	return only
}
