// Command heads generates what four heads of grouped-query attention that share
// keys and values do with them: rows are read and widened once.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const heads = 4

// kind says how a vector's worth of weights becomes float32.
type kind struct {
	name string
	size int
	load func(m Mem, v reg.VecVirtual)
	two  func(a, b Mem) reg.VecVirtual // eight weights each of two rows
}

var kinds = []kind{
	{"F32", 4, func(m Mem, v reg.VecVirtual) { VMOVUPS(m, v) }, func(a, b Mem) reg.VecVirtual {
		v := ZMM()
		VBROADCASTF32X8(a, v)
		VINSERTF32X8(Imm(1), b, v, v)
		return v
	}},
	{"BF16", 2, func(m Mem, v reg.VecVirtual) {
		VPMOVZXWD(m, v)
		VPSLLD(Imm(16), v, v)
	}, func(a, b Mem) reg.VecVirtual {
		h, v := halves(a, b), ZMM()
		VPMOVZXWD(h, v)
		VPSLLD(Imm(16), v, v)
		return v
	}},
	{"F16", 2, func(m Mem, v reg.VecVirtual) { VCVTPH2PS(m, v) }, func(a, b Mem) reg.VecVirtual {
		h, v := halves(a, b), ZMM()
		VCVTPH2PS(h, v)
		return v
	}},
}

func halves(a, b Mem) reg.VecVirtual {
	h := YMM()
	VBROADCASTI32X4(a, h) // all of it is written, which a plain load is not known to do
	VINSERTI32X4(Imm(1), b, h, h)
	return h
}

// isa is a width: the vectors of a pass over the rows.
type isa struct {
	name        string
	vec         func() reg.VecVirtual
	lanes, pass int
}

func main() {
	emit.Begin()
	for _, k := range kinds {
		// 8 sums, 2 values and 4 factors of 16 registers; 16, 4 and 4 of 32.
		accumulate(k, isa{"AVX2", func() reg.VecVirtual { return YMM() }, 8, 2})
		accumulate(k, isa{"AVX512", func() reg.VecVirtual { return ZMM() }, 16, 4})
	}
	// The first lanes of two vectors' quarters.
	order := GLOBL("firstLanes", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(4*i%32)))
	}
	for _, k := range kinds {
		scores(k, order)
	}
	prefetch()
	Generate()
}

// scores multiplies eight rows at a time with four heads. A vector has two rows,
// eight lanes each, so that every sum is reduced in the order of the dot kernels:
// lane i takes elements i mod 8, then (0+4)+(2+6) + (1+5)+(3+7).
func scores(k kind, order Mem) {
	name := "dot4" + k.name + "AVX512"
	emit.Func(name, "func(y *float32, ldy int, w *byte, ldw int, x *float32, ldx, n, tiles, ahead int)",
		name+" writes the products of 8 rows a tile, n cache lines each, with four rows",
		"of x, and asks for what lies ahead. Strides are in bytes.")
	const rows = 8
	w, ldw := emit.Ptr("w"), emit.Ptr("ldw")
	ldx := emit.Ptr("ldx")
	idx := ZMM()
	VMOVDQU32(order, idx)
	emit.Loop("tile", emit.Ptr("tiles"), func() {
		first, x, left := GP64(), emit.Ptr("x"), emit.Ptr("n")
		MOVQ(w, first)
		in := emit.NewRows(first, ldw, rows)
		xs := emit.NewRows(x, ldx, heads)
		far := emit.Ptr("ahead")
		ADDQ(w, far)
		ahead := emit.NewRows(far, ldw, rows)
		var acc [heads][rows / 2]reg.VecVirtual
		for h := range acc {
			for r := range acc[h] {
				acc[h][r] = ZMM()
				VXORPS(acc[h][r], acc[h][r], acc[h][r])
			}
		}
		emit.Loop("line", left, func() {
			for r := range rows {
				PREFETCHT0(ahead.At(r, 0))
			}
			perLine := 64 / (8 * k.size)
			for i := range perLine {
				var xv [heads]reg.VecVirtual
				for h := range xv {
					xv[h] = ZMM()
					VBROADCASTF32X8(xs.At(h, 32*i), xv[h])
				}
				for r := range rows / 2 {
					v := k.two(in.At(2*r, 8*k.size*i), in.At(2*r+1, 8*k.size*i))
					for h := range xv {
						VFMADD231PS(v, xv[h], acc[h][r])
					}
				}
			}
			in.Advance(64)
			ahead.Advance(64)
			xs.Advance(32 * perLine)
		})
		y := emit.Ptr("y")
		out := emit.NewRows(y, emit.Ptr("ldy"), heads)
		for h := range acc {
			var sums [2]reg.VecVirtual
			for i := range sums {
				a, b := acc[h][2*i], acc[h][2*i+1]
				low, high, t := ZMM(), ZMM(), ZMM()
				VSHUFF32X4(Imm(0x88), b, a, low) // the lower half of each row
				VSHUFF32X4(Imm(0xdd), b, a, high)
				VADDPS(high, low, low)
				VPERMILPS(Imm(0x4e), low, t)
				VADDPS(t, low, low)
				VPERMILPS(Imm(0xb1), low, t)
				VADDPS(t, low, low)
				sums[i] = low
			}
			VPERMT2PS(sums[1], idx, sums[0])
			VMOVUPS(sums[0].AsY(), out.At(h, 0))
		}
		ADDQ(Imm(4*rows), y)
		Store(y, Param("y")) // registers do not suffice to keep it
		LEAQ(Mem{Base: w, Index: ldw, Scale: 8}, w)
	})
	emit.Ret()
}

func prefetch() {
	emit.Func("prefetchLines", "func(p *byte, lines int)",
		"prefetchLines asks for cache lines, one after the other, so that the processor",
		"sees where it goes on.")
	p := emit.Ptr("p")
	emit.Loop("line", emit.Ptr("lines"), func() {
		PREFETCHT1(Mem{Base: p})
		ADDQ(Imm(64), p)
	})
	emit.Ret()
}

func accumulate(k kind, s isa) {
	name := "accum4" + k.name + s.name
	emit.Func(name, "func(dst *float32, lddst int, p *float32, ldp int, v *byte, ldv, rows, n, ahead int)",
		name+" adds Σ p[h,j]·v[j] to row h of dst, for four rows and n passes over",
		"the rows of v, and asks for what lies ahead. Strides are in bytes.")
	dst, p0, v0 := emit.Ptr("dst"), emit.Ptr("p"), emit.Ptr("v")
	lddst, ldp, ldv := emit.Ptr("lddst"), emit.Ptr("ldp"), emit.Ptr("ldv")
	out := emit.NewRows(dst, lddst, heads)
	emit.Loop("pass", emit.Ptr("n"), func() {
		p, v, left, far := GP64(), GP64(), emit.Ptr("rows"), emit.Ptr("ahead")
		MOVQ(p0, p)
		MOVQ(v0, v)
		in := emit.NewRows(p, ldp, heads)
		var acc [heads][]reg.VecVirtual
		for h := range acc {
			for i := range s.pass {
				acc[h] = append(acc[h], s.vec())
				VMOVUPS(out.At(h, 4*s.lanes*i), acc[h][i])
			}
		}
		emit.Loop("row", left, func() {
			for at := 0; at < s.lanes*k.size*s.pass; at += 64 {
				PREFETCHT0(Mem{Base: v, Index: far, Scale: 1, Disp: at})
			}
			var wide []reg.VecVirtual
			for i := range s.pass {
				wide = append(wide, s.vec())
				k.load(Mem{Base: v, Disp: s.lanes * k.size * i}, wide[i])
			}
			for h := range acc {
				b := s.vec()
				VBROADCASTSS(in.At(h, 0), b)
				for i := range wide {
					VFMADD231PS(wide[i], b, acc[h][i])
				}
			}
			in.Advance(4)
			ADDQ(ldv, v)
		})
		for h := range acc {
			for i, a := range acc[h] {
				VMOVUPS(a, out.At(h, 4*s.lanes*i))
			}
		}
		out.Advance(4 * s.lanes * s.pass)
		ADDQ(U32(uint32(s.lanes*k.size*s.pass)), v0)
	})
	emit.Ret()
}
