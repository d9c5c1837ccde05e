package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func quantizers() {
	order := GLOBL("unpackOrder", RODATA|NOPTR)
	for i, v := range [8]uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(v))
	}
	emit.Func("quantizeAVX2", "func(q *int8, x *float32, groups int, scale float32) int32",
		"quantizeAVX2 writes round(x·scale) over groups of 32 and returns the sum.")
	quantize(emit.Ptr("q"), emit.Ptr("x"), nil, emit.Ptr("groups"), nil, scalar("scale"), order)

	emit.Func("scaleMulQuantizeAVX2", "func(q *int8, x, w *float32, groups int, r, scale float32) int32",
		"scaleMulQuantizeAVX2 writes round((w·(x·r))·scale) over groups of 32 and returns the sum.")
	quantize(emit.Ptr("q"), emit.Ptr("x"), emit.Ptr("w"), emit.Ptr("groups"), scalar("r"), scalar("scale"), order)

	fakeQuant()
	quantizeTernary(order)
	fakeQuantTernary()
	dequant("dequantAVX2", "scale", "dequantAVX2 writes q/scale for n vectors of 8.", VDIVPS)
	dequant("dequantTernaryAVX2", "gamma", "dequantTernaryAVX2 writes q·gamma for n vectors of 8.", VMULPS)
	shiftCodes()
}

// pack stores four vectors of int32 as 32 bytes.
func pack(v [4]reg.VecVirtual, order reg.VecVirtual, dst Mem) {
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	VMOVDQU(v[0], dst)
}

// quantize rounds with VCVTPS2DQ, half to even in the mode Go runs in.
func quantize(q, x, w, groups reg.GPVirtual, r, scale reg.VecVirtual, orderMem Mem) {
	order := constant(orderMem)
	sum := zeroed(1)[0]
	emit.Loop("group", groups, func() {
		var v [4]reg.VecVirtual
		for i := range v {
			v[i] = YMM()
			if w == nil {
				VMULPS(at(x, i), scale, v[i])
			} else {
				VMULPS(at(x, i), r, v[i])
				VMULPS(at(w, i), v[i], v[i])
				VMULPS(scale, v[i], v[i])
			}
			VCVTPS2DQ(v[i], v[i])
			VPADDD(v[i], sum, sum)
		}
		pack(v, order, at(q, 0))
		advance(32, q)
		advance(128, x)
		if w != nil {
			advance(128, w)
		}
	})
	hi, lo := XMM(), sum.AsX()
	VEXTRACTI128(Imm(1), sum, hi)
	VPADDD(hi, lo, hi)
	t := XMM()
	VPSHUFD(Imm(0x4e), hi, t)
	VPADDD(hi, t, t)
	VPSHUFD(Imm(0xb1), t, hi)
	VPADDD(hi, t, t)
	out := GP32()
	VMOVD(t, out)
	Store(out, ReturnIndex(0))
	emit.Ret()
}

func fakeQuant() {
	emit.Func("fakeQuantAVX2", "func(dst, x *float32, n int, scale float32)",
		"fakeQuantAVX2 writes round(x·scale)/scale for n vectors of 8.")
	dst, x, n, scale := emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("n"), scalar("scale")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMULPS(at(x, 0), scale, v)
		VCVTPS2DQ(v, v) // as an integer, because a zero must be +0
		VCVTDQ2PS(v, v)
		VDIVPS(scale, v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, x, dst)
	})
	emit.Ret()
}

// ternaryCode leaves round(clamp(x·s)) as int32 in v. The bounds come before
// the conversion, whose range a large product would leave.
func ternaryCode(x Mem, s, one, minus, v reg.VecVirtual) {
	VMULPS(x, s, v)
	VMINPS(one, v, v)
	VMAXPS(minus, v, v)
	VCVTPS2DQ(v, v)
}

func quantizeTernary(orderMem Mem) {
	emit.Func("quantizeTernaryAVX2", "func(codes *int8, w *float32, groups int, s float32)",
		"quantizeTernaryAVX2 writes clamp(round(w·s), -1, 1) over groups of 32.")
	codes, w, groups, s := emit.Ptr("codes"), emit.Ptr("w"), emit.Ptr("groups"), scalar("s")
	order, one, minus := constant(orderMem), constant(float(1)), constant(float(-1))
	emit.Loop("group", groups, func() {
		var v [4]reg.VecVirtual
		for i := range v {
			v[i] = YMM()
			ternaryCode(at(w, i), s, one, minus, v[i])
		}
		pack(v, order, at(codes, 0))
		advance(32, codes)
		advance(128, w)
	})
	emit.Ret()
}

func fakeQuantTernary() {
	emit.Func("fakeQuantTernaryAVX2", "func(dst, w *float32, n int, s, gamma float32)",
		"fakeQuantTernaryAVX2 writes clamp(round(w·s), -1, 1)·gamma for n vectors of 8.")
	dst, w, n, s, gamma := emit.Ptr("dst"), emit.Ptr("w"), emit.Ptr("n"), scalar("s"), scalar("gamma")
	one, minus := constant(float(1)), constant(float(-1))
	emit.Loop("vector", n, func() {
		v := YMM()
		ternaryCode(at(w, 0), s, one, minus, v)
		VCVTDQ2PS(v, v)
		VMULPS(gamma, v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, w, dst)
	})
	emit.Ret()
}

// dequant applies one operation to codes and a scalar.
func dequant(name, by, doc string, apply func(ops ...Op)) {
	emit.Func(name, "func(dst *float32, q *int8, n int, "+by+" float32)", doc)
	dst, q, n, f := emit.Ptr("dst"), emit.Ptr("q"), emit.Ptr("n"), scalar(by)
	emit.Loop("vector", n, func() {
		v := YMM()
		VPMOVSXBD(Mem{Base: q}, v)
		VCVTDQ2PS(v, v)
		apply(f, v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, dst)
		advance(8, q)
	})
	emit.Ret()
}

// shiftCodes adds one to bytes.
func shiftCodes() {
	emit.Func("shiftCodesAVX2", "func(b *byte, n int)",
		"shiftCodesAVX2 adds one to each of n vectors of 32 bytes, in place.")
	b, n, one := emit.Ptr("b"), emit.Ptr("n"), constant(word(0x01010101))
	emit.Loop("vector", n, func() {
		v := YMM()
		VPADDB(at(b, 0), one, v)
		VMOVDQU(v, at(b, 0))
		advance(32, b)
	})
	emit.Ret()
}
