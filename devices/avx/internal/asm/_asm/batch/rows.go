package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const (
	lineBytes = 64
	pairSums  = 8 // room for a pair's sums
)

// pairs takes pairs of rows of the layout i2r256 by some tokens. Few tokens do not
// hide shifts: for one or two, fields stay where they are in their bytes, or half of
// them do, and have sums of their own, that are larger by a power of four. That also
// makes enough chains. The rows of the next pair are asked for.
func pairs(tokens int) {
	name := fmt.Sprintf("pairsAVX512x%d", tokens)
	emit.Func(name,
		"func(acc *int32, w *byte, rows *uint32, pairs int, q0, q1, q2, q3 *int8, lines int)",
		fmt.Sprintf("%s writes, for pairs of the given rows and %d tokens, the products", name, tokens),
		fmt.Sprintf("acc[%d·pair + 2·token + row] over lines of 256 columns, of which there is one at least.", pairSums),
		"Two more rows may be asked for.")
	acc, w, rows, left := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("rows"), emit.Ptr("pairs")
	q := make([]reg.GPVirtual, tokens)
	for t := range q {
		q[t] = emit.Ptr(fmt.Sprintf("q%d", t))
	}
	end := emit.Ptr("lines")
	SHLQ(Imm(6), end)
	scales := 1
	if tokens <= 2 {
		scales = 4 / tokens
	}
	mask := make([]reg.VecVirtual, scales)
	for i := range mask {
		mask[i] = emit.Dwords(uint32(0x03030303) << (2 * i))
	}
	sums := make([][2][]reg.VecVirtual, tokens)
	each := func(f func(v *reg.VecVirtual)) {
		for t := range sums {
			for r := range sums[t] {
				for i := range sums[t][r] {
					f(&sums[t][r][i])
				}
			}
		}
	}
	for t := range sums {
		for r := range sums[t] {
			sums[t][r] = make([]reg.VecVirtual, scales)
		}
	}
	each(func(v *reg.VecVirtual) { *v = ZMM() })
	emit.Loop("pair", left, func() {
		each(func(v *reg.VecVirtual) { VPXORQ(*v, *v, *v) })
		var row, next [2]reg.GPVirtual
		for r := range row {
			next[r] = GP64()
			MOVL(Mem{Base: rows, Disp: 4 * (2 + r)}, next[r].As32())
			IMULQ(end, next[r])
			ADDQ(w, next[r])
			row[r] = GP64()
			MOVL(Mem{Base: rows, Disp: 4 * r}, row[r].As32())
			IMULQ(end, row[r])
			ADDQ(w, row[r])
		}
		at := GP64()
		XORQ(at, at)
		Label("line")
		var v [2]reg.VecVirtual
		for r := range v {
			v[r] = ZMM()
			VMOVDQU64(Mem{Base: row[r], Index: at, Scale: 1}, v[r])
			PREFETCHT0(Mem{Base: next[r], Index: at, Scale: 1})
		}
		for j := range 4 {
			var u [2]reg.VecVirtual
			for r := range u {
				u[r] = ZMM()
				from := v[r]
				if shift := j / scales * scales; shift > 0 {
					if scales == 1 {
						from = u[r]
					}
					if j%scales == 0 {
						VPSRLW(Imm(uint64(2*shift)), v[r], from)
					}
				}
				VPANDQ(mask[j%scales], from, u[r])
			}
			for t := range sums {
				x := ZMM()
				VMOVDQU64(Mem{Base: q[t], Index: at, Scale: 4, Disp: 64 * j}, x)
				for r := range u {
					VPDPBUSD(x, u[r], sums[t][r][j%scales])
				}
			}
		}
		ADDQ(Imm(lineBytes), at)
		CMPQ(at, end)
		JLT(LabelRef("line"))

		var all []reg.VecVirtual
		for t := range sums {
			for _, s := range sums[t] {
				for i := 1; i < scales; i++ {
					VPSRAD(Imm(uint64(2*i)), s[i], s[i])
				}
				for n := scales / 2; n > 0; n /= 2 {
					for i := range n {
						VPADDD(s[i+n], s[i], s[i])
					}
				}
				all = append(all, s[0])
			}
		}
		store(all, acc)
		ADDQ(Imm(8), rows)
		ADDQ(Imm(4*pairSums), acc)
	})
	emit.Ret()
}

// store writes the sums of up to eight vectors' lanes, which it changes. What stands
// for vectors that are missing has no meaning.
func store(v []reg.VecVirtual, acc reg.Register) {
	for i := 0; i < len(v); i += 4 {
		VMOVDQU32(addLanes(v[i:min(i+4, len(v))]), Mem{Base: acc, Disp: 4 * i})
	}
}

// addLanes returns the sums of two or four vectors' lanes, those of two twice. It
// changes the vectors.
func addLanes(v []reg.VecVirtual) reg.VecVirtual {
	merge := func(a, b reg.VecVirtual, low, high func(...Op)) {
		t := ZMM()
		high(b, a, t)
		low(b, a, a)
		VPADDD(t, a, a)
	}
	dl, dh := func(o ...Op) { VPUNPCKLDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHDQ(o[0], o[1], o[2]) }
	ql, qh := func(o ...Op) { VPUNPCKLQDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHQDQ(o[0], o[1], o[2]) }
	for i := 0; i < len(v); i += 2 {
		merge(v[i], v[i+1], dl, dh)
	}
	if len(v) > 2 {
		merge(v[0], v[2], ql, qh)
	} else {
		t := ZMM()
		VPSHUFD(Imm(0x4e), v[0], t)
		VPADDD(t, v[0], v[0])
	}
	y, x := YMM(), XMM()
	VEXTRACTI64X4(Imm(1), v[0], y)
	VPADDD(y, v[0].AsY(), y)
	VEXTRACTI32X4(Imm(1), y, x)
	VPADDD(x, y.AsX(), x)
	return x
}

// sets lists rows by which of four tokens want them.
func sets() {
	emit.Func("rowSetsAVX512", "func(rows *uint32, stride int, counts *int, g0, g1, g2, g3 *float32, sixteens int, mask, always uint32)",
		"rowSetsAVX512 appends row i of 16·sixteens to the list at rows + s·stride, in bytes,",
		"which has counts[s] rows, where s, from 1 to 15, has bit t if gt[i] is positive, or",
		"always has, of the bits of mask. It writes up to 16 more rows of no meaning.")
	rows, stride, counts := emit.Ptr("rows"), emit.Ptr("stride"), emit.Ptr("counts")
	var g [4]reg.GPVirtual
	for t := range g {
		g[t] = emit.Ptr(fmt.Sprintf("g%d", t))
	}
	var is [16]reg.VecVirtual
	for s := 1; s < len(is); s++ {
		is[s] = emit.Dwords(uint32(s))
	}
	fill := func(name string) reg.VecVirtual {
		v, x, r := ZMM(), XMM(), GP32()
		Load(Param(name), r)
		VMOVD(r, x)
		VPBROADCASTD(x, v)
		return v
	}
	mask, always := fill("mask"), fill("always")
	iota := GLOBL("rowIota16", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(i)))
	}
	at, step, zero := ZMM(), emit.Dwords(16), ZMM()
	VMOVDQU32(iota, at)
	VPXORD(zero, zero, zero)
	emit.Loop("sixteen", emit.Ptr("sixteens"), func() {
		set, k := ZMM(), K()
		VPXORD(set, set, set)
		const greater = 6
		for t := range g {
			v := ZMM()
			VMOVDQU32(Mem{Base: g[t]}, v)
			VPCMPD(Imm(greater), zero, v, k)
			VPORD(is[1<<t], set, k, set)
			ADDQ(Imm(64), g[t])
		}
		VPORD(always, set, set)
		VPANDD(mask, set, set)
		p := GP64()
		MOVQ(rows, p)
		for s := 1; s < len(is); s++ {
			v, k, n, count := ZMM(), K(), GP64(), GP64()
			VPCMPEQD(is[s], set, k)
			VPCOMPRESSD_Z(at, k, v)
			KMOVW(k, n.As32())
			POPCNTL(n.As32(), n.As32())
			ADDQ(stride, p)
			MOVQ(Mem{Base: counts, Disp: 8 * s}, count)
			VMOVDQU32(v, Mem{Base: p, Index: count, Scale: 4})
			ADDQ(n, count)
			MOVQ(count, Mem{Base: counts, Disp: 8 * s})
		}
		VPADDD(step, at, at)
	})
	emit.Ret()
}

// spread scales the sums of pairs and puts them where they belong.
func spread(tokens int) {
	name := fmt.Sprintf("spreadAVX512x%d", tokens)
	emit.Func(name, "func(acc *int32, rows *uint32, pairs int, y0, y1, y2, y3 *float32, sums *int32, factors *float32)",
		fmt.Sprintf("%s writes yt[row] = factors[2t]·(acc − sums[2t]) for the sums that pairs makes of", name),
		fmt.Sprintf("%d tokens. The factor and the sum of a token are there twice, and eight of each.", tokens))
	acc, rows := emit.Ptr("acc"), emit.Ptr("rows")
	y := make([]reg.GPVirtual, tokens)
	for t := range y {
		y[t] = emit.Ptr(fmt.Sprintf("y%d", t))
	}
	sums, factors := YMM(), YMM()
	VMOVDQU(Mem{Base: emit.Ptr("sums")}, sums)
	VMOVUPS(Mem{Base: emit.Ptr("factors")}, factors)
	emit.Loop("pair", emit.Ptr("pairs"), func() {
		v, a, b := YMM(), GP64(), GP64()
		MOVL(Mem{Base: rows}, a.As32())
		MOVL(Mem{Base: rows, Disp: 4}, b.As32())
		VMOVDQU(Mem{Base: acc}, v)
		VPSUBD(sums, v, v)
		VCVTDQ2PS(v, v)
		VMULPS(factors, v, v)
		x := v.AsX()
		for t := range y {
			if t == 2 {
				x = XMM()
				VEXTRACTF128(Imm(1), v, x)
			}
			if t%2 == 0 {
				VMOVSS(x, Mem{Base: y[t], Index: a, Scale: 4})
			} else {
				VEXTRACTPS(Imm(2), x, Mem{Base: y[t], Index: a, Scale: 4})
			}
			VEXTRACTPS(Imm(uint64(t%2*2+1)), x, Mem{Base: y[t], Index: b, Scale: 4})
		}
		ADDQ(Imm(8), rows)
		ADDQ(Imm(4*pairSums), acc)
	})
	emit.Ret()
}
