package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const lineRows = 256

// line takes a line of the layout i2c256 by all the columns of a list, which other
// tokens had in the cache before. All fields of a byte meet the same activation, so
// nothing is shifted: masks leave the lowest field, the lowest two, three, and all four,
// and differences of these sums are the fields' own, times a power of four. With sums
// that wrap around, that is exact while a field's own sum is below 2^25.
func line() {
	emit.Func("lineColsAVX512", "func(acc *int32, w *byte, offs *uint32, codes *int8, quads int, next *byte, stride int, init int32)",
		"lineColsAVX512 adds to 256 sums init and the products of a line of 4·quads columns, at most 2^16,",
		"at the byte offsets offs. It asks for one line a quad, stride bytes apart, from next on.")
	acc, w, offs, codes := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("offs"), emit.Ptr("codes")
	next, stride := emit.Ptr("next"), emit.Ptr("stride")
	masks := [3]reg.VecVirtual{emit.Dwords(0x03030303), emit.Dwords(0x0f0f0f0f), emit.Dwords(0x3f3f3f3f)}
	var s [lineRows / 16]reg.VecVirtual // 4z+j
	for i := range s {
		s[i] = ZMM()
		VPXORQ(s[i], s[i], s[i])
	}
	emit.Loop("quad", emit.Ptr("quads"), func() {
		var c [4]reg.VecVirtual
		for i := range c {
			at := GP64()
			MOVL(Mem{Base: offs, Disp: 4 * i}, at.As32())
			c[i] = ZMM()
			VMOVDQU64(Mem{Base: w, Index: at, Scale: 1}, c[i])
		}
		PREFETCHT1(Mem{Base: next})
		ADDQ(stride, next)
		code := ZMM()
		VPBROADCASTD(Mem{Base: codes}, code)
		emit.Quads(c, func(z int, v reg.VecVirtual) {
			for j, m := range masks {
				t := ZMM()
				VPANDQ(m, v, t)
				VPDPBUSD(code, t, s[4*z+j])
			}
			VPDPBUSD(code, v, s[4*z+3])
		})
		ADDQ(Imm(16), offs)
		ADDQ(Imm(4), codes)
	})
	init, x := ZMM(), XMM()
	VMOVD(Load(Param("init"), GP32()), x)
	VPBROADCASTD(x, init)
	for i := len(s) - 1; i >= 0; i-- {
		if j := i % 4; j > 0 {
			VPSUBD(s[i-1], s[i], s[i])
			VPSRAD(Imm(uint64(2*j)), s[i], s[i])
		}
		VPADDD(init, s[i], s[i])
		VPADDD(Mem{Base: acc, Disp: 64 * i}, s[i], s[i])
		VMOVDQU32(s[i], Mem{Base: acc, Disp: 64 * i})
	}
	emit.Ret()
}
