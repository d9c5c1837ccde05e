package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func reductions() {
	sum("sumAVX2", 1, "x", func(acc reg.VecVirtual, a, _ Mem) { VADDPS(a, acc, acc) })
	sum("sumSquaresAVX2", 1, "x²", func(acc reg.VecVirtual, a, _ Mem) {
		t := YMM()
		VMOVUPS(a, t)
		VMULPS(t, t, t)
		VADDPS(t, acc, acc)
	})
	sum("dotAVX2", 2, "x·y", func(acc reg.VecVirtual, a, b Mem) {
		t := YMM()
		VMOVUPS(a, t)
		VMULPS(b, t, t)
		VADDPS(t, acc, acc)
	})
	largest("absMaxAVX2", "|x|", true)
	largest("maxAVX2", "x", false)
	sumAbs()
	scaleMulAbsMax()
}

// sum emits a sum of groups of 32 in four vectors, folded to eight lanes.
func sum(name string, inputs int, what string, step func(acc reg.VecVirtual, a, b Mem)) {
	args := "x *float32"
	if inputs == 2 {
		args = "x, y *float32"
	}
	emit.Func(name, "func(s *float32, "+args+", groups int)",
		name+" stores the eight lane sums of "+what+" over groups of 32.")
	s, x := emit.Ptr("s"), emit.Ptr("x")
	y := x
	if inputs == 2 {
		y = emit.Ptr("y")
	}
	groups := emit.Ptr("groups")
	acc := zeroed(4)
	emit.Loop("group", groups, func() {
		for i := range acc {
			step(acc[i], at(x, i), at(y, i))
		}
		advance(128, x)
		if inputs == 2 {
			advance(128, y)
		}
	})
	VADDPS(acc[1], acc[0], acc[0])
	VADDPS(acc[3], acc[2], acc[2])
	VADDPS(acc[2], acc[0], acc[0])
	VMOVUPS(acc[0], at(s, 0))
	emit.Ret()
}

// storeMax returns the largest lane of v.
func storeMax(acc []reg.VecVirtual) {
	VMAXPS(acc[1], acc[0], acc[0])
	VMAXPS(acc[3], acc[2], acc[2])
	VMAXPS(acc[2], acc[0], acc[0])
	hi := XMM()
	VEXTRACTF128(Imm(1), acc[0], hi)
	lo := acc[0].AsX()
	VMAXPS(hi, lo, hi)
	t := XMM()
	VPSHUFD(Imm(0x4e), hi, t)
	VMAXPS(hi, t, t)
	VPSHUFD(Imm(0xb1), t, hi)
	VMAXPS(hi, t, t)
	VMOVSS(t, emit.Address(ReturnIndex(0)))
}

func largest(name, what string, abs bool) {
	emit.Func(name, "func(x *float32, groups int) float32",
		name+" returns the largest "+what+" over at least one group of 32.")
	x, groups := emit.Ptr("x"), emit.Ptr("groups")
	acc := make([]reg.VecVirtual, 4)
	var mask reg.VecVirtual
	if abs {
		mask = constant(word(0x7fffffff))
	}
	for i := range acc {
		acc[i] = YMM()
		VMOVUPS(at(x, i), acc[i])
		if abs {
			VANDPS(mask, acc[i], acc[i])
		}
	}
	advance(128, x)
	DECQ(groups)
	emit.Loop("group", groups, func() {
		for i := range acc {
			if !abs {
				VMAXPS(at(x, i), acc[i], acc[i])
				continue
			}
			t := YMM()
			VANDPS(at(x, i), mask, t)
			VMAXPS(t, acc[i], acc[i])
		}
		advance(128, x)
	})
	storeMax(acc)
	emit.Ret()
}

func sumAbs() {
	emit.Func("sumAbsAVX2", "func(s *float64, x *float32, groups int)",
		"sumAbsAVX2 stores 16 float64 sums of |x| over groups of 16.")
	s, x, groups := emit.Ptr("s"), emit.Ptr("x"), emit.Ptr("groups")
	mask := XMM()
	VMOVUPS(word(0x7fffffff), mask)
	acc := zeroed(4)
	emit.Loop("group", groups, func() {
		for i := range acc {
			t, d := XMM(), YMM()
			VANDPS(Mem{Base: x, Disp: 16 * i}, mask, t)
			VCVTPS2PD(t, d)
			VADDPD(d, acc[i], acc[i])
		}
		PREFETCHT0(Mem{Base: x, Disp: 2048})
		advance(64, x)
	})
	for i := range acc {
		VMOVUPD(acc[i], at(s, i))
	}
	emit.Ret()
}

func scaleMulAbsMax() {
	emit.Func("scaleMulAbsMaxAVX2", "func(x, w *float32, groups int, r float32) float32",
		"scaleMulAbsMaxAVX2 returns the largest |w·(x·r)| over groups of 32.")
	x, w, groups, r := emit.Ptr("x"), emit.Ptr("w"), emit.Ptr("groups"), scalar("r")
	mask := constant(word(0x7fffffff))
	acc := zeroed(4)
	emit.Loop("group", groups, func() {
		for i := range acc {
			t := YMM()
			VMULPS(at(x, i), r, t)
			VMULPS(at(w, i), t, t)
			VANDPS(mask, t, t)
			VMAXPS(t, acc[i], acc[i])
		}
		advance(128, x, w)
	})
	storeMax(acc)
	emit.Ret()
}
