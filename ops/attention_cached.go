package ops

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/trit-ml/trit/graph"
)

// CachedAttentionOp is AttentionOp with keys and values read from a paged
// cache: position p of sequence s lies in block table[s][p/P], slot p mod P.
// Every position up to the token's own must have been appended.
var CachedAttentionOp = graph.Define(graph.Def[AttentionAttrs]{
	Name: "attention.cached", Doc: "causal grouped-query attention over a paged cache",
	In: "q, kc, vc, seq, pos, table", Out: "o",
	Rowwise: []int{0, 3, 4},
	Infer: func(a AttentionAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("q", 2), Float("kc", 3), Float("vc", 3), I32("seq", 1), I32("pos", 1), I32("table", 2)); err != nil {
			return nil, err
		}
		hd, err := a.headDim(in[0])
		if err != nil {
			return nil, err
		}
		if in[1].Last() != graph.C(a.KVHeads*hd) || !in[1].Equal(in[2]) {
			return nil, fmt.Errorf("caches are %s and %s, want both with rows of %d", in[1], in[2], a.KVHeads*hd)
		}
		if err := EqualDim("q", in[0].Shape[0], "seq", in[3].Shape[0]); err != nil {
			return nil, err
		}
		return one(in[0]), EqualDim("q", in[0].Shape[0], "pos", in[4].Shape[0])
	},
	Ref: func(a AttentionAttrs, in, out []graph.Tensor) error {
		q, o := in[0].F32(), out[0].F32()
		pages := Pages{in[1].Dims[0], in[1].Dims[1], in[5].Dims[1], in[5].I32()}
		hd := in[0].Dims[1] / a.Heads
		group := a.Heads / a.KVHeads
		scale := 1 / math.Sqrt(float64(hd))
		// Where no kernel reads the cache's type a session steps through here.
		scratch := cachedScratch.Get().(*attentionScratch)
		defer cachedScratch.Put(scratch)
		scratch.acc = slices.Grow(scratch.acc[:0], hd)[:hd]
		acc, p := scratch.acc, scratch.p[:0]
		for i, pos := range in[4].I32() {
			if pos < 0 {
				return fmt.Errorf("token %d: position %d", i, pos)
			}
			first := 0
			if a.Window > 0 {
				first = max(0, int(pos)-a.Window+1)
			}
			for h := range a.Heads {
				qo := (i*a.Heads + h) * hd
				p = p[:0]
				most := math.Inf(-1)
				for t := first; t <= int(pos); t++ {
					row, err := pages.Row(int(in[3].I32()[i]), t)
					if err != nil {
						return fmt.Errorf("token %d: %w", i, err)
					}
					ko := (row*a.KVHeads + h/group) * hd
					var dot float64
					for c := range hd {
						dot += float64(q[qo+c]) * in[1].FloatAt(ko+c)
					}
					p = append(p, dot*scale)
					most = max(most, dot*scale)
				}
				scratch.p = p
				var sum float64
				clear(acc)
				for t, s := range p {
					row, _ := pages.Row(int(in[3].I32()[i]), first+t)
					vo := (row*a.KVHeads + h/group) * hd
					e := math.Exp(s - most)
					sum += e
					for c := range hd {
						acc[c] += e * in[2].FloatAt(vo+c)
					}
				}
				for c := range hd {
					o[qo+c] = float32(acc[c] / sum)
				}
			}
		}
		return nil
	},
})

// attentionScratch is what the reference keeps from call to call.
type attentionScratch struct{ acc, p []float64 }

var cachedScratch = sync.Pool{New: func() any { return new(attentionScratch) }}

// Pages finds positions in a paged cache of Blocks blocks of Size positions;
// each sequence has Width entries in Table.
type Pages struct {
	Blocks, Size, Width int
	Table               []int32
}

// Row returns the cache row of position pos of sequence seq.
func (p Pages) Row(seq, pos int) (int, error) {
	if p.Size <= 0 || pos < 0 || pos/p.Size >= p.Width || seq < 0 || seq >= len(p.Table)/p.Width {
		return 0, fmt.Errorf("sequence %d, position %d is outside the block table (%d positions a sequence)", seq, pos, p.Width*p.Size)
	}
	b := int(p.Table[seq*p.Width+pos/p.Size])
	if b < 0 || b >= p.Blocks {
		return 0, fmt.Errorf("sequence %d, position %d: block %d is outside the cache of %d", seq, pos, b, p.Blocks)
	}
	return b*p.Size + pos%p.Size, nil
}
