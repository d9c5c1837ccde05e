// Command sgemm generates the tiles of the float32 matrix product and the
// kernels that pack its operands.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func main() {
	emit.Begin()
	for rows := 1; rows <= 6; rows++ {
		tile("AVX2", YMM, 8, rows, 2, false)
	}
	for rows := 1; rows <= 12; rows++ {
		tile("AVX512", ZMM, 16, rows, 1, false)
		tile("AVX512", ZMM, 16, rows, 2, true)
	}
	packCopy(16)
	packCopy(12)
	packTranspose()
	Generate()
}

// tile is rows by vecs vectors of C. Two zmm vectors lie in panels of their
// own, two ymm vectors in one panel.
func tile(isa string, vec func() reg.VecVirtual, lanes, rows, vecs int, twoPanels bool) {
	name := fmt.Sprintf("sgemm%sx%dx%d", isa, rows, lanes*vecs)
	emit.Func(name, "func(c *float32, ldc int, a *float32, ars, acs int, b *float32, bstride, k, add int)",
		fmt.Sprintf("%s sets %d by %d elements of C to the products over k, or adds to them if", name, rows, lanes*vecs),
		"add is not 0. Strides are in bytes: ldc, ars between rows, acs between columns of A,",
		"bstride between panels of B.")
	// C is needed last and comes from far: ask for it first.
	early := emit.NewRows(emit.Ptr("c"), emit.Ptr("ldc"), rows)
	for r := range rows {
		for i := range vecs * lanes / 16 {
			PREFETCHT0(early.At(r, 64*i))
		}
	}
	a, acs, b, k := emit.Ptr("a"), emit.Ptr("acs"), emit.Ptr("b"), emit.Ptr("k")
	in := emit.NewRows(a, emit.Ptr("ars"), rows)
	var bstride reg.GPVirtual
	if twoPanels {
		bstride = emit.Ptr("bstride")
	}
	acc := make([][]reg.VecVirtual, rows)
	for r := range acc {
		for range vecs {
			v := vec()
			if lanes == 16 {
				VPXORQ(v, v, v)
			} else {
				VXORPS(v, v, v)
			}
			acc[r] = append(acc[r], v)
		}
	}
	emit.Loop("step", k, func() {
		bv := make([]reg.VecVirtual, vecs)
		for i := range bv {
			bv[i] = vec()
			m := Mem{Base: b, Disp: 4 * lanes * i}
			if twoPanels {
				m.Disp = 0
				if i == 1 {
					m.Index, m.Scale = bstride, 1
				}
			}
			VMOVUPS(m, bv[i])
		}
		for r := range acc {
			av := vec()
			VBROADCASTSS(in.At(r, 0), av)
			for i := range bv {
				VFMADD231PS(bv[i], av, acc[r][i])
			}
		}
		in.AdvanceBy(acs)
		ADDQ(Imm(64), b)
	})
	out := emit.NewRows(emit.Ptr("c"), emit.Ptr("ldc"), rows)
	add := emit.Ptr("add")
	TESTQ(add, add)
	JZ(LabelRef("store"))
	for r := range acc {
		for i, v := range acc[r] {
			VADDPS(out.At(r, 4*lanes*i), v, v)
		}
	}
	Label("store")
	for r := range acc {
		for i, v := range acc[r] {
			VMOVUPS(v, out.At(r, 4*lanes*i))
		}
	}
	emit.Ret()
}

// packCopy gathers columns of rows that are ld apart.
func packCopy(width int) {
	name := fmt.Sprintf("packCopy%dAVX2", width)
	emit.Func(name, "func(dst, src *float32, ld, k int)",
		fmt.Sprintf("%s copies %d elements of each of k rows that are ld bytes apart.", name, width))
	dst, src, ld, k := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("ld"), emit.Ptr("k")
	emit.Loop("row", k, func() {
		a := YMM()
		VMOVUPS(Mem{Base: src}, a)
		var b reg.VecVirtual = YMM()
		if width == 12 {
			b = XMM()
		}
		VMOVUPS(Mem{Base: src, Disp: 32}, b)
		VMOVUPS(a, Mem{Base: dst})
		VMOVUPS(b, Mem{Base: dst, Disp: 32})
		ADDQ(ld, src)
		ADDQ(Imm(uint64(4*width)), dst)
	})
	emit.Ret()
}

// packTranspose turns 16 rows into columns, four columns at a time: rows j and
// j+4 share a register, so a 4 by 4 transposition in both lanes leaves eight
// rows side by side.
func packTranspose() {
	emit.Func("packTranspose16AVX2", "func(dst, src *float32, ld, n int)",
		"packTranspose16AVX2 writes 4n groups of 16: element l of 16 rows ld bytes apart.")
	dst, src, ld, n := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("ld"), emit.Ptr("n")
	in := emit.NewRows(src, ld, 16)
	emit.Loop("columns", n, func() {
		for half := range 2 {
			var v [4]reg.VecVirtual
			for j := range v {
				v[j] = YMM()
				VMOVUPS(in.At(8*half+j, 0), v[j].AsX())
				VINSERTF128(Imm(1), in.At(8*half+j+4, 0), v[j], v[j])
			}
			lo01, hi01, lo23, hi23 := YMM(), YMM(), YMM(), YMM()
			VUNPCKLPS(v[1], v[0], lo01)
			VUNPCKHPS(v[1], v[0], hi01)
			VUNPCKLPS(v[3], v[2], lo23)
			VUNPCKHPS(v[3], v[2], hi23)
			for l, pair := range [2][2]reg.VecVirtual{{lo01, lo23}, {hi01, hi23}} {
				even, odd := YMM(), YMM()
				VUNPCKLPD(pair[1], pair[0], even)
				VUNPCKHPD(pair[1], pair[0], odd)
				VMOVUPS(even, Mem{Base: dst, Disp: 64*(2*l) + 32*half})
				VMOVUPS(odd, Mem{Base: dst, Disp: 64*(2*l+1) + 32*half})
			}
		}
		in.Advance(16)
		ADDQ(U32(256), dst)
	})
	emit.Ret()
}
