package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func train() {
	emit.Func("mulAddAVX2", "func(dst, a, b *float32, n int)",
		"mulAddAVX2 writes dst = dst + a·b for n vectors of 8.")
	dst, a, b, n := emit.Ptr("dst"), emit.Ptr("a"), emit.Ptr("b"), emit.Ptr("n")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMOVUPS(at(a, 0), v)
		VMULPS(at(b, 0), v, v)
		VADDPS(at(dst, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, a, b, dst)
	})
	emit.Ret()

	emit.Func("subMulAVX2", "func(dst, a, b *float32, n int, s float32)",
		"subMulAVX2 writes dst = (a - s)·b for n vectors of 8.")
	dst, a, b, n = emit.Ptr("dst"), emit.Ptr("a"), emit.Ptr("b"), emit.Ptr("n")
	s := scalar("s")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMOVUPS(at(a, 0), v)
		VSUBPS(s, v, v)
		VMULPS(at(b, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, a, b, dst)
	})
	emit.Ret()

	emit.Func("relu2AVX2", "func(dst, x *float32, n int)",
		"relu2AVX2 writes dst = max(x, 0)² for n vectors of 8.")
	dst, x, n := emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("n")
	zero := zeroed(1)[0]
	emit.Loop("vector", n, func() {
		v := YMM()
		VMOVUPS(at(x, 0), v)
		VMAXPS(v, zero, v) // in this order a NaN stays
		VMULPS(v, v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, x, dst)
	})
	emit.Ret()

	emit.Func("relu2GradAVX2", "func(dst, x, dy *float32, n int)",
		"relu2GradAVX2 writes dst = 2·max(x, 0)·dy for n vectors of 8.")
	dst, x, dy, n := emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("dy"), emit.Ptr("n")
	zero = zeroed(1)[0]
	emit.Loop("vector", n, func() {
		v := YMM()
		VMOVUPS(at(x, 0), v)
		VMAXPS(v, zero, v)
		VADDPS(v, v, v)
		VMULPS(at(dy, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, x, dy, dst)
	})
	emit.Ret()

	emit.Func("rotateAVX2", "func(y0, y1, x0, x1, cos, sin *float32, n int, sign uint32)",
		"rotateAVX2 turns n vectors of 8 pairs; sign is the bit to flip in the sines.")
	y0, y1, x0, x1 := emit.Ptr("y0"), emit.Ptr("y1"), emit.Ptr("x0"), emit.Ptr("x1")
	cos, sin, n := emit.Ptr("cos"), emit.Ptr("sin"), emit.Ptr("n")
	flipX, flip := XMM(), YMM()
	VMOVD(Load(Param("sign"), GP32()), flipX)
	VPBROADCASTD(flipX, flip)
	emit.Loop("vector", n, func() {
		s, c, a, b, t := YMM(), YMM(), YMM(), YMM(), YMM()
		VXORPS(at(sin, 0), flip, s)
		VMOVUPS(at(cos, 0), c)
		VMOVUPS(at(x0, 0), a)
		VMOVUPS(at(x1, 0), b)
		VMULPS(s, b, t)
		VMULPS(s, a, s)
		VMULPS(c, a, a)
		VMULPS(c, b, b)
		VSUBPS(t, a, a)
		VADDPS(s, b, b)
		VMOVUPS(a, at(y0, 0))
		VMOVUPS(b, at(y1, 0))
		advance(32, y0, y1, x0, x1, cos, sin)
	})
	emit.Ret()
}
