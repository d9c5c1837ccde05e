package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func elementwise() {
	binary := func(name, doc string, op func(a, b Mem, v reg.VecVirtual)) {
		emit.Func(name, "func(dst, a, b *float32, n int)", name+" writes dst = "+doc+" for n vectors of 8.")
		dst, a, b, n := emit.Ptr("dst"), emit.Ptr("a"), emit.Ptr("b"), emit.Ptr("n")
		emit.Loop("vector", n, func() {
			v := YMM()
			op(at(a, 0), at(b, 0), v)
			VMOVUPS(v, at(dst, 0))
			advance(32, a, b, dst)
		})
		emit.Ret()
	}
	binary("addAVX2", "a + b", func(a, b Mem, v reg.VecVirtual) { VMOVUPS(a, v); VADDPS(b, v, v) })
	binary("mulAVX2", "a·b", func(a, b Mem, v reg.VecVirtual) { VMOVUPS(a, v); VMULPS(b, v, v) })

	emit.Func("relu2MulAVX2", "func(dst, gate, up *float32, n int)",
		"relu2MulAVX2 writes dst = max(gate, 0)²·up for n vectors of 8.")
	dst, g, u, n := emit.Ptr("dst"), emit.Ptr("gate"), emit.Ptr("up"), emit.Ptr("n")
	zero := zeroed(1)[0]
	emit.Loop("vector", n, func() {
		v := YMM()
		VMOVUPS(at(g, 0), v)
		VMAXPS(v, zero, v) // in this order a NaN stays
		VMULPS(v, v, v)
		VMULPS(at(u, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, g, u, dst)
	})
	emit.Ret()

	emit.Func("scaleAVX2", "func(dst, x *float32, n int, a float32)",
		"scaleAVX2 writes dst = x·a for n vectors of 8.")
	dst, x, n, a := emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("n"), scalar("a")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMULPS(at(x, 0), a, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, x, dst)
	})
	emit.Ret()

	emit.Func("axpyAVX2", "func(dst, x *float32, n int, a float32)",
		"axpyAVX2 writes dst = dst + x·a for n vectors of 8.")
	dst, x, n, a = emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("n"), scalar("a")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMULPS(at(x, 0), a, v)
		VADDPS(at(dst, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, x, dst)
	})
	emit.Ret()

	emit.Func("scaleMulAVX2", "func(y, x, w *float32, n int, r float32)",
		"scaleMulAVX2 writes y = w·(x·r) for n vectors of 8.")
	y, x, w, n, r := emit.Ptr("y"), emit.Ptr("x"), emit.Ptr("w"), emit.Ptr("n"), scalar("r")
	emit.Loop("vector", n, func() {
		v := YMM()
		VMULPS(at(x, 0), r, v)
		VMULPS(at(w, 0), v, v)
		VMOVUPS(v, at(y, 0))
		advance(32, x, w, y)
	})
	emit.Ret()

	emit.Func("rescaleAVX2", "func(dst *float32, acc *int32, n int, s float32)",
		"rescaleAVX2 writes dst = float32(acc)·s for n vectors of 8.")
	dst, acc, n, s := emit.Ptr("dst"), emit.Ptr("acc"), emit.Ptr("n"), scalar("s")
	emit.Loop("vector", n, func() {
		v := YMM()
		VCVTDQ2PS(at(acc, 0), v)
		VMULPS(s, v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, acc, dst)
	})
	emit.Ret()

	emit.Func("rescaleAddAVX2", "func(dst *float32, acc *int32, res *float32, n int, s float32)",
		"rescaleAddAVX2 writes dst = float32(acc)·s + res for n vectors of 8.")
	dst, acc, res, n, s := emit.Ptr("dst"), emit.Ptr("acc"), emit.Ptr("res"), emit.Ptr("n"), scalar("s")
	emit.Loop("vector", n, func() {
		v := YMM()
		VCVTDQ2PS(at(acc, 0), v)
		VMULPS(s, v, v)
		VADDPS(at(res, 0), v, v)
		VMOVUPS(v, at(dst, 0))
		advance(32, acc, res, dst)
	})
	emit.Ret()
}

// exp follows exp32 in exp.go operation by operation.
func exp(isa string, lanes int, vec func() reg.VecVirtual) {
	const ln2High = 355.0 / 512
	wide := lanes == 16
	emit.Func("exp"+isa, "func(dst, x *float32, n int, scale, shift float32)",
		fmt.Sprintf("exp%s writes dst = e^(x·scale - shift) for n vectors of %d.", isa, lanes))
	dst, x, n := emit.Ptr("dst"), emit.Ptr("x"), emit.Ptr("n")
	every := func(m Op) reg.VecVirtual {
		v := vec()
		VBROADCASTSS(m, v)
		return v
	}
	scale, shift := every(emit.Address(Param("scale"))), every(emit.Address(Param("shift")))
	highest, lowest := every(float(89)), every(float(-104))
	toTwo, high, low := every(float(math.Log2E)), every(float(ln2High)), every(float(math.Ln2-ln2High))
	bias := every(word(127))
	var coefficients []Op
	for _, c := range []float32{1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1} {
		if wide { // registers suffice
			coefficients = append(coefficients, every(float(c)))
		} else {
			coefficients = append(coefficients, float(c))
		}
	}
	emit.Loop("vector", n, func() {
		v, i, r, p := vec(), vec(), vec(), vec()
		VMULPS(Mem{Base: x}, scale, v)
		VSUBPS(shift, v, v)
		VMINPS(v, highest, v) // in this order a NaN stays
		VMAXPS(v, lowest, v)
		VMULPS(toTwo, v, i)
		if wide {
			VRNDSCALEPS(Imm(8), i, i)
		} else {
			VROUNDPS(Imm(8), i, i)
		}
		VMULPS(high, i, r)
		VSUBPS(r, v, v)
		VMULPS(low, i, r)
		VSUBPS(r, v, r)
		VMOVUPS(coefficients[0], p)
		for _, c := range coefficients[1:] {
			VMULPS(r, p, p)
			VADDPS(c, p, p)
		}
		VCVTPS2DQ(i, i)
		VPSRAD(Imm(1), i, v)
		VPSUBD(v, i, i)
		for _, e := range []reg.VecVirtual{v, i} {
			VPADDD(bias, e, e)
			VPSLLD(Imm(23), e, e)
			VMULPS(e, p, p)
		}
		VMOVUPS(p, Mem{Base: dst})
		advance(uint32(4*lanes), x, dst)
	})
	emit.Ret()
}

// adamW follows ISA.AdamW in adamw.go operation by operation.
func adamW() {
	emit.Func("adamWAVX2", "func(p, grad, m, v *float32, n int, f *float32)",
		"adamWAVX2 updates n vectors of 8; f points to adamFactors.")
	pp, pg, pm, pv := emit.Ptr("p"), emit.Ptr("grad"), emit.Ptr("m"), emit.Ptr("v")
	n, f := emit.Ptr("n"), emit.Ptr("f")
	var c [9]reg.VecVirtual
	for i := range c {
		c[i] = YMM()
		VBROADCASTSS(Mem{Base: f, Disp: 4 * i}, c[i])
	}
	grad, decay, beta1, mix1, beta2, mix2, invRoot, eps, rate := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
	emit.Loop("vector", n, func() {
		g, m, v, t := YMM(), YMM(), YMM(), YMM()
		VMULPS(at(pg, 0), grad, g)
		VMULPS(at(pm, 0), beta1, m)
		VMULPS(mix1, g, t)
		VADDPS(t, m, m)
		VMOVUPS(m, at(pm, 0))
		VMULPS(at(pv, 0), beta2, v)
		VMULPS(g, g, t)
		VMULPS(mix2, t, t)
		VADDPS(t, v, v)
		VMOVUPS(v, at(pv, 0))
		VSQRTPS(v, v)
		VMULPS(invRoot, v, v)
		VADDPS(eps, v, v)
		VMULPS(rate, m, m)
		VDIVPS(v, m, m)
		VMULPS(at(pp, 0), decay, t)
		VSUBPS(m, t, t)
		VMOVUPS(t, at(pp, 0))
		advance(32, pp, pg, pm, pv)
	})
	emit.Ret()
}

func conversions() {
	convert := func(name, sig, doc string, to16 bool, body func(dst, src Mem)) {
		emit.Func(name, sig, doc)
		dst, src, n := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("n")
		emit.Loop("vector", n, func() {
			body(Mem{Base: dst}, Mem{Base: src})
			if to16 {
				advance(16, dst)
				advance(32, src)
				return
			}
			advance(32, dst)
			advance(16, src)
		})
		emit.Ret()
	}
	const to32, from32 = "func(dst *float32, src *uint16, n int)", "func(dst *uint16, src *float32, n int)"
	convert("bf16ToF32AVX2", to32, "bf16ToF32AVX2 widens n vectors of 8.", false, func(dst, src Mem) {
		v := YMM()
		VPMOVZXWD(src, v)
		VPSLLD(Imm(16), v, v)
		VMOVDQU(v, dst)
	})
	convert("f16ToF32AVX2", to32, "f16ToF32AVX2 widens n vectors of 8.", false, func(dst, src Mem) {
		v := YMM()
		VCVTPH2PS(src, v)
		VMOVUPS(v, dst)
	})
	convert("f32ToF16AVX2", from32, "f32ToF16AVX2 rounds n vectors of 8.", true, func(dst, src Mem) {
		v := YMM()
		VMOVUPS(src, v)
		VCVTPS2PH(Imm(0), v, dst)
	})
	convert("f32ToBF16AVX2", from32, "f32ToBF16AVX2 rounds n vectors of 8.", true, func(dst, src Mem) {
		v, r, nan := YMM(), YMM(), YMM()
		VMOVUPS(src, v)
		VCMPPS(Imm(3), v, v, nan) // unordered: NaN
		VPSRLD(Imm(16), v, r)
		VPAND(word(1), r, r)
		VPADDD(word(0x7fff), r, r)
		VPADDD(v, r, r)
		VPOR(word(0x00400000), v, v)
		VPBLENDVB(nan, v, r, r)
		VPSRLD(Imm(16), r, r)
		VPACKUSDW(r, r, r)
		VPERMQ(Imm(0x08), r, r)
		VMOVDQU(r.AsX(), dst)
	})
}
