// Command screen generates sums of 4-bit unsigned weights times 16-bit
// activations, which are given as two signed bytes, and of 2-bit ones times the
// high bytes.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

// plane says how 64 bytes of a row are spread over columns.
type plane struct {
	name  string
	bits  int
	parts int // 64 columns each
	bytes int // of an activation: 2 for both, 1 for the high one
}

var planes = []plane{{"Nibbles", 4, 2, 2}, {"Crumbs", 2, 4, 1}}

// Activations come in groups of 128 columns: 128 high bytes, then 128 low ones.
func offset(part int, low bool) int {
	at := part/2*256 + part%2*64
	if low {
		at += 128
	}
	return at
}

// ahead is how far beyond a row's place the AVX2 kernels ask for memory, in bytes: into
// the L2 cache, which on a Zen 4 takes a tenth less time than into L1.
// The others do not: there it would cost a third of the speed on a Zen 4.
const ahead = 6144

func main() {
	emit.Begin()
	for _, p := range planes {
		wide(p, kernel)
		narrow(p, kernel)
	}
	intervals()
	intervalsAVX2()
	wide(planes[1], listed)
	narrow(planes[1], listed)
	Generate()
}

// group is the rows whose blocks lie together.
const group = 4

// walk makes a kernel of what it does with the rows of a group.
type walk func(p plane, isa string, prefetch bool, constants, zero func(), step func(row func(r, offset int) Mem, q Mem), store func(acc func(offset int) Mem))

// kernel walks groups of rows and their blocks.
// step gets the rows' address, at which they are 64 bytes apart, and that of the
// activations; store writes the rows' sums, one for each byte of an activation.
func kernel(p plane, isa string, prefetch bool, constants, zero func(), step func(row func(r, offset int) Mem, q Mem), store func(acc func(offset int) Mem)) {
	name := "screen" + p.name + isa
	emit.Func(name, "func(acc *int32, w *byte, q *int8, blocks, groups int)",
		fmt.Sprintf("%s writes, for groups of %d rows, the sums with %s", name, group, []string{"the high bytes", "the high bytes and with the low bytes"}[p.bytes-1]),
		fmt.Sprintf("of q over blocks of %d columns.", 64*p.parts))
	acc, w, q, blocks := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("blocks")
	constants()
	emit.Loop("group", emit.Ptr("groups"), func() {
		zero()
		x, left := GP64(), GP64()
		MOVQ(q, x)
		MOVQ(blocks, left)
		emit.Loop("block", left, func() {
			if prefetch {
				for r := range group {
					PREFETCHT1(Mem{Base: w, Disp: ahead + 64*r})
				}
			}
			step(func(r, offset int) Mem { return Mem{Base: w, Disp: 64*r + offset} }, Mem{Base: x})
			ADDQ(U32(64*group), w)
			ADDQ(U32(uint32(128*p.parts)), x)
		})
		store(func(offset int) Mem { return Mem{Base: acc, Disp: offset} })
		ADDQ(Imm(uint64(4*p.bytes*group)), acc)
	})
	emit.Ret()
}

// listAhead is how many rows of a list are asked for before they are used:
// asm.screenAhead. No processor guesses which rows come next.
const listAhead = 16

// listed walks rows at given offsets, four at a time, whose blocks are as far
// apart as those of a group. It asks for rows to come block by block, in the order
// in which they are used, and into the L2 cache, which waits for more lines at once
// than the L1 cache.
func listed(p plane, isa string, _ bool, constants, zero func(), step func(row func(r, offset int) Mem, q Mem), store func(acc func(offset int) Mem)) {
	name := "screen" + p.name + "List" + isa
	emit.Func(name, "func(acc *int32, w *byte, q *int8, blocks int, offs *uint32, quads int)",
		fmt.Sprintf("%s writes, for 4·quads rows at the byte offsets offs, of which %d more", name, listAhead),
		fmt.Sprintf("may be asked for, the sums with the high bytes of q over blocks of %d columns.", 64*p.parts))
	acc, w, q, blocks, offs := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("blocks"), emit.Ptr("offs")
	constants()
	emit.Loop("quad", emit.Ptr("quads"), func() {
		zero()
		at, x, left := GP64(), GP64(), GP64()
		var rows [group]reg.GPVirtual
		for r := range rows {
			rows[r] = GP64()
			MOVL(Mem{Base: offs, Disp: 4 * r}, rows[r].As32())
		}
		MOVQ(w, at)
		MOVQ(q, x)
		MOVQ(blocks, left)
		emit.Loop("block", left, func() {
			for r := range rows {
				next := GP64()
				MOVL(Mem{Base: offs, Disp: 4 * (listAhead + r)}, next.As32())
				PREFETCHT1(Mem{Base: at, Index: next, Scale: 1})
			}
			step(func(r, offset int) Mem { return Mem{Base: at, Index: rows[r], Scale: 1, Disp: offset} }, Mem{Base: x})
			ADDQ(U32(64*group), at)
			ADDQ(U32(uint32(128*p.parts)), x)
		})
		store(func(offset int) Mem { return Mem{Base: acc, Disp: offset} })
		ADDQ(Imm(uint64(4*p.bytes*group)), acc)
		ADDQ(Imm(4*group), offs)
	})
	emit.Ret()
}

// transpose adds up 128-bit lanes: lane by lane, the sums of four vectors.
func transpose(v []reg.VecVirtual, temp func() reg.VecVirtual) reg.VecVirtual {
	merge := func(a, b reg.VecVirtual, low, high func(...Op)) {
		t := temp()
		high(b, a, t)
		low(b, a, a)
		VPADDD(t, a, a)
	}
	dl, dh := func(o ...Op) { VPUNPCKLDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHDQ(o[0], o[1], o[2]) }
	ql, qh := func(o ...Op) { VPUNPCKLQDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHQDQ(o[0], o[1], o[2]) }
	merge(v[0], v[1], dl, dh)
	merge(v[2], v[3], dl, dh)
	merge(v[0], v[2], ql, qh)
	return v[0]
}

// lowest fills a vector with the mask of a plane's lowest part.
func (p plane) lowest(v reg.VecVirtual) reg.VecVirtual {
	return emit.DwordsOf(v, uint32(1<<p.bits-1)*0x01010101)
}

// wide is the AVX-512 VNNI form: rows by kinds of bytes by two chains.
func wide(p plane, w walk) {
	const rows = group
	var mask reg.VecVirtual
	var s [rows][2][2]reg.VecVirtual // row, low, chain
	each := func(f func(v *reg.VecVirtual)) {
		for r := range s {
			for l := range p.bytes {
				for c := range s[r][l] {
					f(&s[r][l][c])
				}
			}
		}
	}
	w(p, "AVX512", false,
		func() {
			mask = p.lowest(ZMM())
			each(func(v *reg.VecVirtual) { *v = ZMM() })
		},
		func() { each(func(v *reg.VecVirtual) { VPXORQ(*v, *v, *v) }) },
		func(row func(r, offset int) Mem, x Mem) {
			var in [rows]reg.VecVirtual
			for r := range in {
				in[r] = ZMM()
				VMOVDQU64(row(r, 0), in[r])
			}
			for part := range p.parts {
				var xv [2]reg.VecVirtual
				for l := range p.bytes {
					xv[l] = ZMM()
					VMOVDQU64(x.Offset(offset(part, l == 1)), xv[l])
				}
				for r := range in {
					codes := ZMM()
					if part == 0 {
						VPANDQ(mask, in[r], codes)
					} else {
						VPSRLW(Imm(uint64(p.bits*part)), in[r], codes)
						VPANDQ(mask, codes, codes)
					}
					for l := range p.bytes {
						VPDPBUSD(xv[l], codes, s[r][l][part%2])
					}
				}
			}
		},
		func(acc func(offset int) Mem) {
			each := 4 / p.bytes
			for r := 0; r < rows; r += each {
				var v []reg.VecVirtual
				for i := range 4 {
					chains := s[r+i/p.bytes][i%p.bytes]
					VPADDD(chains[1], chains[0], chains[0])
					v = append(v, chains[0])
				}
				sum, y, x := transpose(v, func() reg.VecVirtual { return ZMM() }), YMM(), XMM()
				VEXTRACTI64X4(Imm(1), sum, y)
				VPADDD(y, sum.AsY(), y)
				VEXTRACTI32X4(Imm(1), y, x)
				VPADDD(x, y.AsX(), x)
				VMOVDQU32(x, acc(4*p.bytes*r))
			}
		})
}

// narrow is the AVX2 form. A pair of products is at most 2·15·128 and a block
// adds up to eight of them: 16-bit sums hold a block of either plane.
func narrow(p plane, w walk) {
	const rows = group
	var mask, ones reg.VecVirtual
	s := make([]reg.VecVirtual, rows*p.bytes) // row, low
	w(p, "AVX2", true,
		func() {
			mask, ones = p.lowest(YMM()), emit.WordsY1()
			for i := range s {
				s[i] = YMM()
			}
		},
		func() {
			for _, v := range s {
				VPXOR(v, v, v)
			}
		},
		func(row func(r, offset int) Mem, x Mem) {
			for r := range rows {
				var block [2]reg.VecVirtual
				for half := range 2 {
					in := YMM()
					VMOVDQU(row(r, 32*half), in)
					for part := range p.parts {
						codes := YMM()
						if part == 0 {
							VPAND(mask, in, codes)
						} else {
							VPSRLW(Imm(uint64(p.bits*part)), in, codes)
							VPAND(mask, codes, codes)
						}
						for l := range p.bytes {
							at := x.Offset(offset(part, l == 1) + 32*half)
							if block[l] == nil {
								block[l] = YMM()
								VPMADDUBSW(at, codes, block[l])
								continue
							}
							t := YMM()
							VPMADDUBSW(at, codes, t)
							VPADDW(t, block[l], block[l])
						}
					}
				}
				for l, v := range block[:p.bytes] {
					VPMADDWD(ones, v, v)
					VPADDD(v, s[p.bytes*r+l], s[p.bytes*r+l])
				}
			}
		},
		func(acc func(offset int) Mem) {
			for i := 0; i < len(s); i += 4 {
				sum, x := transpose(s[i:i+4], func() reg.VecVirtual { return YMM() }), XMM()
				VEXTRACTI128(Imm(1), sum, x)
				VPADDD(x, sum.AsX(), x)
				VMOVDQU(x, acc(4*i))
			}
		})
}

// intervals is asm.ScreenIntervals for eight rows at a time.
func intervals() {
	emit.Func("screenIntervalsAVX512", "func(least, most *float32, steps *float64, bounds *float32, eights int, factors *float64, lost int)",
		"screenIntervalsAVX512 writes what logits of 8·eights rows are at least and at most.")
	least, most, steps, bounds, eights := emit.Ptr("least"), emit.Ptr("most"), emit.Ptr("steps"), emit.Ptr("bounds"), emit.Ptr("eights")
	factors := emit.Ptr("factors")
	var f [9]reg.VecVirtual
	for i := range f {
		f[i] = ZMM()
		VBROADCASTSD(Mem{Base: factors, Disp: 8 * i}, f[i])
	}
	step, alpha, beta, slack, blur, tiny, length, huge, limit := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]
	const perRow = 4
	rows := GLOBL("everyFourth", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(perRow*(i%8))))
	}
	at := func(c reg.Register) reg.VecVirtual { // places of element c of eight rows
		v, x := ZMM(), XMM()
		VMOVD(c, x)
		VPBROADCASTD(x, v)
		VPADDD(rows, v, v)
		return v
	}
	c := GP32()
	XORL(c, c)
	scaleAt := at(c)
	MOVL(U32(3), c)
	normAt := at(c)
	lost := GP64()
	Load(Param("lost"), lost)
	lostAt := at(lost.As32())
	sign, inf, none := ZMM(), YMM(), YMM()
	VPTERNLOGQ(Imm(255), sign, sign, sign)
	VPSRLQ(Imm(1), sign, sign)
	MOVL(U32(0x7f800000), c)
	VMOVD(c, inf.AsX())
	VPBROADCASTD(inf.AsX(), inf)
	MOVL(U32(0xff800000), c)
	VMOVD(c, none.AsX())
	VPBROADCASTD(none.AsX(), none)
	emit.Loop("eight", eights, func() {
		low, high := ZMM(), ZMM()
		VMOVUPS(Mem{Base: bounds}, low)
		VMOVUPS(Mem{Base: bounds, Disp: 64}, high)
		pick := func(places reg.VecVirtual) reg.VecVirtual {
			v := ZMM()
			VMOVAPS(low, v)
			VPERMT2PS(high, places, v)
			VCVTPS2PD(v.AsY(), v)
			return v
		}
		unit, lost, norm := pick(scaleAt), pick(lostAt), pick(normAt)
		VMULPD(step, unit, unit)
		a, r, t := ZMM(), ZMM(), ZMM()
		VMULPD(Mem{Base: steps}, unit, a)
		VMULPD(alpha, norm, r)
		VMULPD(beta, lost, lost)
		VADDPD(lost, r, r)
		VPANDQ(sign, a, t)
		VMULPD(slack, t, t)
		VMULPD(blur, unit, unit)
		VADDPD(unit, t, t)
		VADDPD(t, r, r)
		VADDPD(tiny, r, r)
		VMULPD(length, norm, norm)
		const less = 0x11 // false for what is not a number
		k := K()
		VCMPPD(Imm(less), huge, norm, k)
		VCMPPD(Imm(less), limit, r, k, k)
		VSUBPD(r, a, t)
		VADDPD(r, a, a)
		VCVTPD2PS(t, t.AsY())
		VCVTPD2PS(a, a.AsY())
		VBLENDMPS(t.AsY(), none, k, t.AsY())
		VBLENDMPS(a.AsY(), inf, k, a.AsY())
		VMOVUPS(t.AsY(), Mem{Base: least})
		VMOVUPS(a.AsY(), Mem{Base: most})
		ADDQ(Imm(128), bounds)
		ADDQ(Imm(64), steps)
		ADDQ(Imm(32), least)
		ADDQ(Imm(32), most)
	})
	emit.Ret()
}

// intervalsAVX2 leaves constants that are used once in memory: there are too few
// registers.
func intervalsAVX2() {
	emit.Func("screenIntervalsAVX2", "func(least, most *float32, steps *float64, bounds *float32, fours int, factors *float64, lost int)",
		"screenIntervalsAVX2 writes what logits of 4·fours rows are at least and at most.")
	least, most, steps, bounds, fours := emit.Ptr("least"), emit.Ptr("most"), emit.Ptr("steps"), emit.Ptr("bounds"), emit.Ptr("fours")
	factors, lostAt := emit.Ptr("factors"), emit.Ptr("lost")
	var f [9]reg.VecVirtual
	for i := range f {
		f[i] = YMM()
		VBROADCASTSD(Mem{Base: factors, Disp: 8 * i}, f[i])
	}
	step, alpha, beta, slack, blur, tiny, length, huge, limit := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]
	constant := func(name string, v uint32) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 4 {
			DATA(4*i, U32(v))
		}
		return m
	}
	inf, none := constant("infinity", 0x7f800000), constant("minusInfinity", 0xff800000)
	sign := GLOBL("notSign", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(0x7fffffffffffffff))
	}
	const perRow = 16
	LEAQ(Mem{Base: bounds, Index: lostAt, Scale: 4}, lostAt)
	emit.Loop("four", fours, func() {
		pick := func(base reg.Register, offset int) reg.VecVirtual { // an element of four rows
			v := YMM()
			VMOVSS(Mem{Base: base, Disp: offset}, v.AsX())
			for i := 1; i < 4; i++ {
				VINSERTPS(Imm(uint64(16*i)), Mem{Base: base, Disp: offset + perRow*i}, v.AsX(), v.AsX())
			}
			VCVTPS2PD(v.AsX(), v)
			return v
		}
		unit, lost, norm := pick(bounds, 0), pick(lostAt, 0), pick(bounds, 12)
		VMULPD(step, unit, unit)
		a, r, t := YMM(), YMM(), YMM()
		VMULPD(Mem{Base: steps}, unit, a)
		VMULPD(alpha, norm, r)
		VMULPD(beta, lost, lost)
		VADDPD(lost, r, r)
		VANDPD(sign, a, t)
		VMULPD(slack, t, t)
		VMULPD(blur, unit, unit)
		VADDPD(unit, t, t)
		VADDPD(t, r, r)
		VADDPD(tiny, r, r)
		VMULPD(length, norm, norm)
		const notLess = 0x15 // true for what is not a number
		VCMPPD(Imm(notLess), huge, norm, norm)
		VCMPPD(Imm(notLess), limit, r, t)
		VORPD(t, norm, norm)
		VEXTRACTF128(Imm(1), norm, t.AsX())
		VSHUFPS(Imm(0x88), t.AsX(), norm.AsX(), norm.AsX()) // where nothing is known
		VSUBPD(r, a, t)
		VADDPD(r, a, a)
		VCVTPD2PSY(t, t.AsX())
		VCVTPD2PSY(a, a.AsX())
		VBLENDVPS(norm.AsX(), none, t.AsX(), t.AsX())
		VBLENDVPS(norm.AsX(), inf, a.AsX(), a.AsX())
		VMOVUPS(t.AsX(), Mem{Base: least})
		VMOVUPS(a.AsX(), Mem{Base: most})
		ADDQ(Imm(4*perRow), bounds)
		ADDQ(Imm(4*perRow), lostAt)
		ADDQ(Imm(32), steps)
		ADDQ(Imm(16), least)
		ADDQ(Imm(16), most)
	})
	emit.Ret()
}
