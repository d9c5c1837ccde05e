package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const (
	screenGroup = 4   // rows whose blocks lie together: asm.screenGroup
	screenSlot  = 128 // asm.ScreenSlot
)

// nibbles is the first look at a screened head for four tokens at once: twelve
// instructions unpack what 32 multiply.
func nibbles() {
	emit.Func("nibbles4AVX512", "func(s0, s1, s2, s3 *float64, w *byte, qa, qb *int8, blocks, groups int, bases *float64, next *byte)",
		"nibbles4AVX512 writes 4·sum − base of rows, for groups of four, and the two tokens of",
		"qa and of qb over blocks of 128 columns. It asks for 64·blocks·groups bytes from next on.")
	const tokens = 4
	y := [tokens]reg.GPVirtual{emit.Ptr("s0"), emit.Ptr("s1"), emit.Ptr("s2"), emit.Ptr("s3")}
	w, qa, next := emit.Ptr("w"), emit.Ptr("qa"), emit.Ptr("next")
	second := emit.Ptr("qb")
	SUBQ(qa, second)
	low := emit.Dwords(0x0f0f0f0f)
	base, four := emit.Ptr("bases"), YMM()
	{
		r := GP64()
		MOVQ(U64(0x4010000000000000), r)
		VMOVQ(r, four.AsX())
		VPBROADCASTQ(four.AsX(), four)
	}
	var s [tokens][screenGroup]reg.VecVirtual
	for t := range s {
		for r := range s[t] {
			s[t][r] = ZMM()
		}
	}
	emit.Loop("group", emit.Ptr("groups"), func() {
		for t := range s {
			for _, v := range s[t] {
				VPXORQ(v, v, v)
			}
		}
		x, left := GP64(), emit.Ptr("blocks")
		MOVQ(qa, x)
		Label("block")
		var v [screenGroup]reg.VecVirtual
		for r := range v {
			v[r] = ZMM()
			VMOVDQU64(Mem{Base: w, Disp: 64 * r}, v[r])
		}
		PREFETCHT1(Mem{Base: next})
		for part := range 2 {
			var u [screenGroup]reg.VecVirtual
			for r := range u {
				u[r] = ZMM()
				if part == 0 {
					VPANDQ(low, v[r], u[r])
				} else {
					VPSRLW(Imm(4), v[r], u[r])
					VPANDQ(low, u[r], u[r])
				}
			}
			for t := range s {
				m := Mem{Base: x, Disp: 64*part + t%2*screenSlot}
				if t >= 2 {
					m.Index, m.Scale = second, 1
				}
				q := ZMM()
				VMOVDQU64(m, q)
				for r := range u {
					VPDPBUSD(q, u[r], s[t][r])
				}
			}
		}
		ADDQ(U32(64*screenGroup), w)
		ADDQ(U32(2*screenSlot), x)
		ADDQ(Imm(64), next)
		DECQ(left)
		JNZ(LabelRef("block"))
		for t := range s {
			x := addLanes(s[t][:])
			d := YMM()
			VCVTDQ2PD(x, d)
			VMULPD(four, d, d)
			b := YMM()
			VBROADCASTSD(Mem{Base: base, Disp: 8 * t}, b)
			VSUBPD(b, d, d)
			VMOVUPD(d, Mem{Base: y[t]})
			ADDQ(Imm(32), y[t])
		}
	})
	emit.Ret()
}

// list finds the rows of a screened head that stay in.
func list() {
	emit.Func("atLeastAVX512", "func(rows *uint32, x *float32, sixteens int, cut float32) int",
		"atLeastAVX512 writes the places of 16·sixteens numbers that are not less than cut and",
		"returns how many there are. Places after them, up to 16·sixteens, may change.")
	rows, x := emit.Ptr("rows"), emit.Ptr("x")
	cut, at, step := ZMM(), ZMM(), emit.Dwords(16)
	VBROADCASTSS(emit.Address(Param("cut")), cut)
	VMOVDQU32(NewDataAddr(Symbol{Name: "rowIota16", Static: true}, 0), at)
	count := GP64()
	XORQ(count, count)
	emit.Loop("sixteen", emit.Ptr("sixteens"), func() {
		k, n, v := K(), GP64(), ZMM()
		VMOVUPS(Mem{Base: x}, v)
		const notLess = 5 // or not a number
		VCMPPS(Imm(notLess), cut, v, k)
		KMOVW(k, n.As32())
		TESTL(n.As32(), n.As32())
		JZ(LabelRef("none"))
		VPCOMPRESSD_Z(at, k, v)
		VMOVDQU32(v, Mem{Base: rows, Index: count, Scale: 4})
		POPCNTL(n.As32(), n.As32())
		ADDQ(n, count)
		Label("none")
		VPADDD(step, at, at)
		ADDQ(Imm(64), x)
	})
	Store(count, ReturnIndex(0))
	emit.Ret()
}
