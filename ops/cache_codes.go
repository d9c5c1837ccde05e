package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// A cache of codes holds keys and values in one byte each. Every position's part
// of every key head has a step of its own, so that code·step is off by half a step
// at most: 1/254 of the largest absolute value in those elements. Kernels multiply
// codes as integers; so that they can read four factors of one sum at once, a
// block of P positions does not hold row after row but
//
//	keys    [W/4][P][4]                     four channels of each position
//	values  [KVHeads][hd/32][P/4][32][4]    four positions of each channel
//	steps   [KVHeads][P]
//
// P and hd, the channels of a head, are multiples of four. The last 32 channels of a
// head's values may be fewer.

// CodePages finds elements in a paged cache of codes.
type CodePages struct {
	Pages
	KVHeads, HeadDim int
}

// Key is the index of a key's channel among the codes. row is that of Pages.Row,
// channel counts through all heads.
func (p *CodePages) Key(row, channel int) int {
	block, slot := row/p.Size, row%p.Size
	return block*p.Size*p.KVHeads*p.HeadDim + (channel/4*p.Size+slot)*4 + channel%4
}

// Value is the index of a value's channel among the codes.
func (p *CodePages) Value(row, channel int) int {
	block, slot := row/p.Size, row%p.Size
	head, c := channel/p.HeadDim, channel%p.HeadDim
	from := c / 32 * 32
	return (block*p.KVHeads+head)*p.Size*p.HeadDim + from*p.Size + (slot/4*min(32, p.HeadDim-from)+c-from)*4 + slot%4
}

// Step is the index of the step of a row's part for a key head.
func (p *CodePages) Step(row, head int) int {
	block, slot := row/p.Size, row%p.Size
	return (block*p.KVHeads+head)*p.Size + slot
}

// codePages checks the types of a cache of codes: codes kc and vc, steps ks and vs.
func codePages(kc, ks, vc, vs graph.Type) error {
	if err := Check([]graph.Type{kc, ks, vc, vs}, Want{"kc", []graph.DType{graph.I8}, 3}, F32("ks", 3), Want{"vc", []graph.DType{graph.I8}, 3}, F32("vs", 3)); err != nil {
		return err
	}
	if !kc.Equal(vc) || !ks.Equal(vs) {
		return fmt.Errorf("keys (%s, %s) and values (%s, %s) differ in type", kc, ks, vc, vs)
	}
	if kc.Shape[0] != ks.Shape[0] || kc.Shape[1] != ks.Shape[1] {
		return fmt.Errorf("codes are %s and steps %s, want the same blocks and positions", kc, ks)
	}
	size, ok1 := kc.Shape[1].Const()
	w, ok2 := kc.Last().Const()
	heads, ok3 := ks.Last().Const()
	if !ok1 || !ok2 || !ok3 || heads < 1 || w%heads != 0 || size%4 != 0 || w/heads%4 != 0 {
		return fmt.Errorf("codes are %s for %s key heads: positions of a block and channels of a head must be multiples of 4", kc, ks.Last())
	}
	return nil
}

// NewCodePages describes a cache whose codes and steps have the given dimensions.
func NewCodePages(codes, steps []int, width int, table []int32) CodePages {
	return CodePages{Pages{codes[0], codes[1], width, table}, steps[2], codes[2] / max(steps[2], 1)}
}

// KVAppendCodesOp is KVAppendOp into a cache of codes: the quantizer of
// activations, for each head of a row.
var KVAppendCodesOp = graph.Define(graph.Def[graph.None]{
	Name: "kv.append.i8", Doc: "cache rows of (seq, pos) = codes and steps of k, v", In: "kc, ks, vc, vs, k, v, seq, pos, table", Out: "kc, ks, vc, vs",
	Updates: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 1}, {In: 2, Out: 2}, {In: 3, Out: 3}},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := codePages(in[0], in[1], in[2], in[3]); err != nil {
			return nil, err
		}
		if err := Check(in[4:], F32("k", 2), F32("v", 2), I32("seq", 1), I32("pos", 1), I32("table", 2)); err != nil {
			return nil, err
		}
		if !in[4].Equal(in[5]) {
			return nil, fmt.Errorf("keys (%s) and values (%s) differ in type", in[4], in[5])
		}
		if err := EqualDim("a cache row", in[0].Last(), "a row of k", in[4].Last()); err != nil {
			return nil, err
		}
		if err := EqualDim("k", in[4].Shape[0], "seq", in[6].Shape[0]); err != nil {
			return nil, err
		}
		return []graph.Type{in[0], in[1], in[2], in[3]}, EqualDim("k", in[4].Shape[0], "pos", in[7].Shape[0])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		pages := NewCodePages(in[0].Dims, in[1].Dims, in[8].Dims[1], in[8].I32())
		for i := range out {
			copy(out[i].Data, in[i].Data)
		}
		w, hd := in[0].Dims[2], pages.HeadDim
		codes := make([]int8, hd)
		for i := range in[6].Dims[0] {
			row, err := pages.Row(int(in[6].I32()[i]), int(in[7].I32()[i]))
			if err != nil {
				return fmt.Errorf("token %d: %w", i, err)
			}
			for h := range pages.KVHeads {
				at := h * hd
				out[1].F32()[pages.Step(row, h)] = 1 / Int8.Row(codes, in[4].F32()[i*w+at:][:hd])
				for c, q := range codes {
					out[0].I8()[pages.Key(row, at+c)] = q
				}
				out[3].F32()[pages.Step(row, h)] = 1 / Int8.Row(codes, in[5].F32()[i*w+at:][:hd])
				for c, q := range codes {
					out[2].I8()[pages.Value(row, at+c)] = q
				}
			}
		}
		return nil
	},
})

// CachedAttentionCodesOp is CachedAttentionOp over a cache of codes.
var CachedAttentionCodesOp = graph.Define(graph.Def[AttentionAttrs]{
	Name: "attention.cached.i8", Doc: "causal grouped-query attention over a paged cache of codes",
	In: "q, kc, ks, vc, vs, seq, pos, table", Out: "o",
	Rowwise: []int{0, 5, 6},
	Infer: func(a AttentionAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("q", 2)); err != nil {
			return nil, err
		}
		if err := codePages(in[1], in[2], in[3], in[4]); err != nil {
			return nil, err
		}
		if err := Check(in[5:], I32("seq", 1), I32("pos", 1), I32("table", 2)); err != nil {
			return nil, err
		}
		hd, err := a.headDim(in[0])
		if err != nil {
			return nil, err
		}
		if in[1].Last() != graph.C(a.KVHeads*hd) || in[2].Last() != graph.C(a.KVHeads) {
			return nil, fmt.Errorf("caches are %s and %s, want rows of %d codes and %d steps", in[1], in[2], a.KVHeads*hd, a.KVHeads)
		}
		if err := EqualDim("q", in[0].Shape[0], "seq", in[5].Shape[0]); err != nil {
			return nil, err
		}
		return one(in[0]), EqualDim("q", in[0].Shape[0], "pos", in[6].Shape[0])
	},
	Ref: func(a AttentionAttrs, in, out []graph.Tensor) error {
		// The same as with a cache of what the codes stand for.
		pages := NewCodePages(in[1].Dims, in[2].Dims, in[7].Dims[1], in[7].I32())
		kc, vc := graph.NewTensor(graph.F32, in[1].Dims...), graph.NewTensor(graph.F32, in[1].Dims...)
		w := in[1].Dims[2]
		for row := range pages.Blocks * pages.Size {
			for c := range w {
				step := pages.Step(row, c/pages.HeadDim)
				kc.F32()[row*w+c] = float32(in[1].I8()[pages.Key(row, c)]) * in[2].F32()[step]
				vc.F32()[row*w+c] = float32(in[3].I8()[pages.Value(row, c)]) * in[4].F32()[step]
			}
		}
		return CachedAttentionOp.Run(a, []graph.Tensor{in[0], kc, vc, in[5], in[6], in[7]}, out)
	},
})
