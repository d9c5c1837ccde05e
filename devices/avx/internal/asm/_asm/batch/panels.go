package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const blockBytes = 64

// panels takes two panels of the layout i2x16 by some tokens. For each 16 columns it
// unpacks with 14 instructions and multiplies with 8 a token, which other units of
// the processor do, so three tokens and more hide the unpacking. A broadcast
// activation serves both panels.
func panels(tokens int) {
	name := fmt.Sprintf("panelsAVX512x%d", tokens)
	emit.Func(name,
		"func(c *int32, ldc int, w *byte, ldw int, q *int8, ldq, blocks int, init *int32, next *byte)",
		fmt.Sprintf("%s sets 32 sums of each of %d tokens to init plus the products of two", name, tokens),
		"packed panels, ldw bytes apart, of 16·blocks columns. It asks for 128·blocks bytes",
		"from next on. ldc and ldq are in bytes.")
	c, w, q, blocks := emit.Ptr("c"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("blocks")
	init, ldw, next := emit.Ptr("init"), emit.Ptr("ldw"), emit.Ptr("next")
	low := emit.Dwords(0x03030303)
	acc := make([][2]reg.VecVirtual, tokens)
	for j := range acc {
		for p := range acc[j] {
			acc[j][p] = ZMM()
			VPBROADCASTD(Mem{Base: init, Disp: 4 * j}, acc[j][p])
		}
	}
	in := emit.NewRows(q, emit.Ptr("ldq"), tokens)
	emit.Loop("block", blocks, func() {
		var v [2]reg.VecVirtual
		for p, m := range []Mem{{Base: w}, {Base: w, Index: ldw, Scale: 1}} {
			v[p] = ZMM()
			VMOVDQU64(m, v[p])
		}
		PREFETCHT1(Mem{Base: next})
		PREFETCHT1(Mem{Base: next, Disp: 64})
		for step := range 4 {
			var u [2]reg.VecVirtual
			for p := range u {
				u[p] = ZMM()
				if step == 0 {
					VPANDQ(low, v[p], u[p])
				} else {
					VPSRLW(Imm(uint64(2*step)), v[p], u[p])
					VPANDQ(low, u[p], u[p])
				}
			}
			for j := range acc {
				b := ZMM()
				VPBROADCASTD(in.At(j, 4*step), b)
				VPDPBUSD(b, u[0], acc[j][0])
				VPDPBUSD(b, u[1], acc[j][1])
			}
		}
		in.Advance(16)
		ADDQ(Imm(blockBytes), w)
		ADDQ(U32(2*blockBytes), next)
	})
	out := emit.NewRows(c, emit.Ptr("ldc"), tokens)
	for j := range acc {
		for p := range acc[j] {
			VMOVDQU32(acc[j][p], out.At(j, 64*p))
		}
	}
	emit.Ret()
}
