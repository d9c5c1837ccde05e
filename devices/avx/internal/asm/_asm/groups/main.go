// Command groups generates what products of ternary weights with a scale for each
// group need beside the kernels of whole matrices.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func main() {
	emit.Begin()
	add()
	divide()
	Generate()
}

// add is y += float(acc)·gamma for the 16 rows of a panel, by tokens.
func add() {
	emit.Func("groupAddAVX2", "func(y *float32, ldy int, acc *int32, ldacc int, gamma *float32, tokens int)",
		"groupAddAVX2 adds acc times gamma to y, 16 of each for every token, each product",
		"and each sum rounded. Strides are in bytes.")
	y, ldy, acc, ldacc, gamma := emit.Ptr("y"), emit.Ptr("ldy"), emit.Ptr("acc"), emit.Ptr("ldacc"), emit.Ptr("gamma")
	g0, g1 := YMM(), YMM()
	VMOVUPS(Mem{Base: gamma}, g0)
	VMOVUPS(Mem{Base: gamma, Disp: 32}, g1)
	emit.Loop("token", emit.Ptr("tokens"), func() {
		a, b := YMM(), YMM()
		VCVTDQ2PS(Mem{Base: acc}, a)
		VCVTDQ2PS(Mem{Base: acc, Disp: 32}, b)
		VMULPS(g0, a, a)
		VMULPS(g1, b, b)
		VADDPS(Mem{Base: y}, a, a)
		VADDPS(Mem{Base: y, Disp: 32}, b, b)
		VMOVUPS(a, Mem{Base: y})
		VMOVUPS(b, Mem{Base: y, Disp: 32})
		ADDQ(ldacc, acc)
		ADDQ(ldy, y)
	})
	emit.Ret()
}

// divide is y = x/s for the 16 rows of a panel, by tokens.
func divide() {
	emit.Func("groupDivideAVX2", "func(y *float32, ldy int, x *float32, ldx int, s *float32, tokens int)",
		"groupDivideAVX2 writes x divided by the token's s, 16 for every token. Strides are",
		"in bytes.")
	y, ldy, x, ldx, s := emit.Ptr("y"), emit.Ptr("ldy"), emit.Ptr("x"), emit.Ptr("ldx"), emit.Ptr("s")
	emit.Loop("token", emit.Ptr("tokens"), func() {
		by, a, b := YMM(), YMM(), YMM()
		VBROADCASTSS(Mem{Base: s}, by)
		VMOVUPS(Mem{Base: x}, a)
		VMOVUPS(Mem{Base: x, Disp: 32}, b)
		VDIVPS(by, a, a)
		VDIVPS(by, b, b)
		VMOVUPS(a, Mem{Base: y})
		VMOVUPS(b, Mem{Base: y, Disp: 32})
		ADDQ(ldx, x)
		ADDQ(ldy, y)
		ADDQ(U8(4), s)
	})
	emit.Ret()
}
