package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

// Processors with AVX-VNNI but without AVX-512 know VPDPBUSD in VEX encoding
// only, which Go's assembler does not write. These kernels therefore name their
// vector registers, and vpdpbusd spells the instruction out.

var ymm = [16]reg.VecPhysical{
	reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
	reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
}

// vpdpbusd adds to dst the products of four unsigned bytes of u and signed bytes
// of s: VEX.256.66.0F38.W0 50 /r (Intel SDM volume 2, VPDPBUSD).
func vpdpbusd(s, u, dst int) {
	high := func(r int) uint32 { return uint32(^r>>3) & 1 }
	code := [5]uint32{
		0xc4,
		high(dst)<<7 | 1<<6 | high(s)<<5 | 0x02,
		uint32(^u&15)<<3 | 1<<2 | 1,
		0x50,
		0xc0 | uint32(dst&7)<<3 | uint32(s&7),
	}
	Comment(fmt.Sprintf("VPDPBUSD Y%d, Y%d, Y%d", s, u, dst))
	raw("LONG", U32(code[0]|code[1]<<8|code[2]<<16|code[3]<<24))
	raw("BYTE", U8(code[4]))
}

func raw(directive string, v Op) {
	Instruction(&ir.Instruction{Opcode: directive, Operands: []Op{v}})
}

func tileVNNI(cols int) {
	emit.Func(fmt.Sprintf("tileTernaryVNNIx%d", cols),
		"func(c *int32, ldc int, w *byte, q *int8, ldq, blocks int, init *int32)",
		fmt.Sprintf("tileTernaryVNNIx%d is tileTernaryAVX2x%d with VPDPBUSD.", cols, cols))
	init := emit.Ptr("init")
	for j := range cols {
		VPBROADCASTD(Mem{Base: init, Disp: 4 * j}, ymm[2*j])
		VMOVDQA(ymm[2*j], ymm[2*j+1])
	}
	w, blocks := emit.Ptr("w"), emit.Ptr("blocks")
	in := emit.NewRows(emit.Ptr("q"), emit.Ptr("ldq"), cols)
	const w0, w1, b = 12, 13, 14
	emit.Loop("block", blocks, func() {
		for step := range 4 {
			VMOVDQU(Mem{Base: w, Disp: 64 * step}, ymm[w0])
			VMOVDQU(Mem{Base: w, Disp: 64*step + 32}, ymm[w1])
			for j := range cols {
				VPBROADCASTD(in.At(j, 4*step), ymm[b])
				vpdpbusd(b, w0, 2*j)
				vpdpbusd(b, w1, 2*j+1)
			}
		}
		in.Advance(16)
		ADDQ(U32(256), w)
	})
	out := emit.NewRows(emit.Ptr("c"), emit.Ptr("ldc"), cols)
	for j := range cols {
		VMOVDQU(ymm[2*j], out.At(j, 0))
		VMOVDQU(ymm[2*j+1], out.At(j, 32))
	}
	emit.Ret()
}

func gemvVNNI() {
	emit.Func("gemvTernaryVNNI", gemvSig, "gemvTernaryVNNI is gemvTernaryAVX2 with VPDPBUSD.")
	acc, w, q0, qtail := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("qtail")
	blocks, panels := emit.Ptr("blocks"), emit.Ptr("panels")
	// Sums 2j and 2j+1 are for columns 4j on, rows 0..7 and 8..15; those of
	// odd j hold four times the value.
	const low, high, v, b, t = 8, 9, 10, 12, 13
	VMOVDQU(NewDataAddr(Symbol{Name: "mask03", Static: true}, 0), ymm[low])
	VMOVDQU(NewDataAddr(Symbol{Name: "mask0c", Static: true}, 0), ymm[high])
	block := func(q reg.Register) {
		for h := range 2 {
			VMOVDQU(Mem{Base: w, Disp: 32 * h}, ymm[v+h])
		}
		for j := range 4 {
			VPBROADCASTD(Mem{Base: q, Disp: 4 * j}, ymm[b])
			for h := range 2 {
				if j == 2 {
					VPSRLW(Imm(4), ymm[v+h], ymm[v+h])
				}
				VPAND(ymm[low+j%2], ymm[v+h], ymm[t+h])
				vpdpbusd(b, t+h, 2*j+h)
			}
		}
		PREFETCHT0(Mem{Base: w, Disp: prefetchAhead})
		ADDQ(Imm(blockBytes), w)
	}
	emit.Loop("panel", panels, func() {
		q, n := GP64(), GP64()
		MOVQ(q0, q)
		MOVQ(blocks, n)
		for i := range 8 {
			VPXOR(ymm[i], ymm[i], ymm[i])
		}
		emit.Loop("block", n, func() {
			block(q)
			ADDQ(Imm(16), q)
		})
		TESTQ(qtail, qtail)
		JZ(LabelRef("store"))
		block(qtail)
		Label("store")
		VMOVD(Load(Param("init"), GP32()), reg.X12)
		VPBROADCASTD(reg.X12, ymm[b])
		for h := range 2 {
			VPADDD(ymm[2+h], ymm[6+h], ymm[6+h])
			VPSRAD(Imm(2), ymm[6+h], ymm[6+h])
			VPADDD(ymm[h], ymm[4+h], ymm[4+h])
			VPADDD(ymm[4+h], ymm[6+h], ymm[6+h])
			VPADDD(ymm[b], ymm[6+h], ymm[6+h])
			VMOVDQU(ymm[6+h], Mem{Base: acc, Disp: 32 * h})
		}
		ADDQ(Imm(64), acc)
	})
	emit.Ret()
}
