// Command codes generates attention over a cache of codes: products of 16-bit
// factors with the bytes of keys and values, whose blocks are laid out so that the
// four bytes that lie together belong to one sum.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

// isa is a width. A vector holds lanes sums in two halves each.
type isa struct {
	name  string
	vec   func() reg.VecVirtual
	lanes int // sums in a vector
	vecs  int // vectors of a tile
	madd  func(acc, a, b reg.VecVirtual)
}

var isas = []isa{
	{"AVX2", func() reg.VecVirtual { return YMM() }, 4, 2, func(acc, a, b reg.VecVirtual) {
		t := YMM()
		VPMADDWD(a, b, t)
		VPADDD(t, acc, acc)
	}},
	{"AVX512", func() reg.VecVirtual { return ZMM() }, 8, 4, func(acc, a, b reg.VecVirtual) { VPDPWSSD(a, b, acc) }},
}

func main() {
	emit.Begin()
	for _, s := range isas {
		for _, heads := range []int{4, 1} {
			dot(s, heads)
			accumulate(s, heads)
		}
	}
	quantize()
	Generate()
}

// sums are the accumulators of some heads.
func sums(s isa, heads int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, heads)
	for h := range acc {
		for range s.vecs {
			v := s.vec()
			if s.name == "AVX2" {
				VPXOR(v, v, v)
			} else {
				VPXORD(v, v, v)
			}
			acc[h] = append(acc[h], v)
		}
	}
	return acc
}

// step multiplies the vectors at a place with four factors of each head, and asks
// for what lies ahead.
func step(s isa, acc [][]reg.VecVirtual, at, ahead reg.GPVirtual, factors emit.Rows) {
	for line := 0; line < 4*s.lanes*s.vecs; line += 64 {
		PREFETCHT0(Mem{Base: at, Index: ahead, Scale: 1, Disp: line})
	}
	var wide []reg.VecVirtual
	for i := range s.vecs {
		wide = append(wide, s.vec())
		VPMOVSXBW(Mem{Base: at, Disp: 4 * s.lanes * i}, wide[i])
	}
	for h := range acc {
		f := s.vec()
		VPBROADCASTQ(factors.At(h, 0), f)
		for i := range wide {
			s.madd(acc[h][i], wide[i], f)
		}
	}
}

// halves adds the two halves of every sum; the result has eight sums a vector.
func halves(s isa, acc []reg.VecVirtual) []reg.VecVirtual {
	var out []reg.VecVirtual
	if s.name == "AVX2" {
		for i := 0; i < len(acc); i += 2 {
			v := YMM()
			VPHADDD(acc[i+1], acc[i], v)
			VPERMQ(Imm(0xd8), v, v)
			out = append(out, v)
		}
		return out
	}
	for _, a := range acc {
		t, v := ZMM(), YMM()
		VPSRLQ(Imm(32), a, t)
		VPADDD(t, a, t)
		VPMOVQD(t, v)
		out = append(out, v)
	}
	return out
}

// dot multiplies a tile of positions at a time with some heads.
func dot(s isa, heads int) {
	name := fmt.Sprintf("codesDot%d%s", heads, s.name)
	tile := s.lanes * s.vecs
	emit.Func(name, "func(y *float32, ldy int, k *int8, ldk int, q *int16, ldq, n int, steps, scales *float32, tiles, ahead int)",
		fmt.Sprintf("%s writes, for %d head(s) and %d positions a tile, the sum of n groups of", name, heads, tile),
		"four products, times the position's step, times the head's scale, and asks for",
		"what lies ahead. Strides are in bytes.")
	y, k, steps := emit.Ptr("y"), emit.Ptr("k"), emit.Ptr("steps")
	ldk, ldq, ldy := emit.Ptr("ldk"), emit.Ptr("ldq"), emit.Ptr("ldy")
	emit.Loop("tile", emit.Ptr("tiles"), func() {
		acc := sums(s, heads)
		at, q, ahead := GP64(), emit.Ptr("q"), emit.Ptr("ahead")
		MOVQ(k, at)
		factors := emit.NewRows(q, ldq, heads)
		emit.Loop("group", emit.Ptr("n"), func() {
			step(s, acc, at, ahead, factors)
			factors.Advance(8)
			ADDQ(ldk, at)
		})
		scales := emit.Ptr("scales")
		out := emit.NewRows(y, ldy, heads)
		for h := range acc {
			scale := YMM()
			VBROADCASTSS(Mem{Base: scales, Disp: 4 * h}, scale)
			for i, v := range halves(s, acc[h]) {
				f := YMM()
				VCVTDQ2PS(v, f)
				VMULPS(Mem{Base: steps, Disp: 32 * i}, f, f)
				VMULPS(scale, f, f)
				VMOVUPS(f, out.At(h, 32*i))
			}
		}
		ADDQ(Imm(uint64(4*tile)), y)
		ADDQ(Imm(uint64(4*tile)), steps)
		ADDQ(U32(uint32(4*tile)), k)
	})
	emit.Ret()
}

// accumulate adds to a pass of channels at a time.
func accumulate(s isa, heads int) {
	name := fmt.Sprintf("codesAccum%d%s", heads, s.name)
	pass := s.lanes * s.vecs
	emit.Func(name, "func(acc *int32, ldacc int, p *int16, ldp int, v *int8, ldv, n, passes, ahead int)",
		fmt.Sprintf("%s adds, for %d head(s) and %d channels a pass, n groups of four", name, heads, pass),
		"products to acc, and asks for what lies ahead. Strides are in bytes.")
	dst, v := emit.Ptr("acc"), emit.Ptr("v")
	ldv, ldp, ldacc := emit.Ptr("ldv"), emit.Ptr("ldp"), emit.Ptr("ldacc")
	out := emit.NewRows(dst, ldacc, heads)
	emit.Loop("pass", emit.Ptr("passes"), func() {
		acc := sums(s, heads)
		at, p, ahead := GP64(), emit.Ptr("p"), emit.Ptr("ahead")
		MOVQ(v, at)
		factors := emit.NewRows(p, ldp, heads)
		emit.Loop("group", emit.Ptr("n"), func() {
			step(s, acc, at, ahead, factors)
			factors.Advance(8)
			ADDQ(ldv, at)
		})
		for h := range acc {
			for i, t := range halves(s, acc[h]) {
				VPADDD(out.At(h, 32*i), t.AsY(), t.AsY())
				VMOVUPS(t.AsY(), out.At(h, 32*i))
			}
		}
		out.Advance(4 * pass)
		ADDQ(U32(uint32(4*pass)), v)
	})
	emit.Ret()
}

// quantize rounds to 16 bits.
func quantize() {
	emit.Func("quantizeI16AVX2", "func(dst *int16, src *float32, n int, inverse float32)",
		"quantizeI16AVX2 writes round_half_even(src·inverse) for 16·n elements.")
	dst, src := emit.Ptr("dst"), emit.Ptr("src")
	inverse := YMM()
	VBROADCASTSS(emit.Address(Param("inverse")), inverse)
	emit.Loop("sixteen", emit.Ptr("n"), func() {
		a, b := YMM(), YMM()
		VMULPS(Mem{Base: src}, inverse, a)
		VMULPS(Mem{Base: src, Disp: 32}, inverse, b)
		VCVTPS2DQ(a, a)
		VCVTPS2DQ(b, b)
		VPACKSSDW(b, a, a)
		VPERMQ(Imm(0xd8), a, a)
		VMOVDQU(a, Mem{Base: dst})
		ADDQ(Imm(64), src)
		ADDQ(Imm(32), dst)
	})
	emit.Ret()
}
