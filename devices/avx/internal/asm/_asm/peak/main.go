// Command peak generates loops that only measure the machine: what a kernel
// could reach at best, taken beside the kernel in the same process.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func main() {
	emit.Begin()
	readStream()
	peak("peakMaddubsAVX2", YMM, 12, func(acc, a, b reg.VecVirtual) {
		t := YMM()
		VPMADDUBSW(a, b, t)
		VPADDW(t, acc, acc)
	})
	peak("peakFMAAVX2", YMM, 12, func(acc, a, b reg.VecVirtual) { VFMADD231PS(a, b, acc) })
	peak("peakVNNIAVX512", ZMM, 24, func(acc, a, b reg.VecVirtual) { VPDPBUSD(a, b, acc) })
	peak("peakFMAAVX512", ZMM, 24, func(acc, a, b reg.VecVirtual) { VFMADD231PS(a, b, acc) })
	Generate()
}

// peak emits a loop of 12 or 24 independent accumulations on registers.
func peak(name string, vec func() reg.VecVirtual, n int, step func(acc, a, b reg.VecVirtual)) {
	emit.Func(name, "func(iters int)", name+" runs its instructions on "+map[bool]string{true: "24", false: "12"}[n == 24]+" independent sums, iters times.")
	iters := emit.Ptr("iters")
	a, b := vec(), vec()
	emit.Zero(a)
	emit.Zero(b)
	acc := make([]reg.VecVirtual, n)
	for i := range acc {
		acc[i] = vec()
		emit.Zero(acc[i])
	}
	emit.Loop("loop", iters, func() {
		for i := range acc {
			step(acc[i], a, b)
		}
	})
	emit.Ret()
}

func readStream() {
	emit.Func("readStreamAVX2", "func(p *byte, lines int)",
		"readStreamAVX2 loads lines times 256 bytes.")
	p, lines := emit.Ptr("p"), emit.Ptr("lines")
	var acc [4]reg.VecVirtual
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	emit.Loop("loop", lines, func() {
		for i := range 8 {
			VPOR(Mem{Base: p, Disp: 32 * i}, acc[i%4], acc[i%4])
		}
		PREFETCHT0(Mem{Base: p, Disp: 4096})
		PREFETCHT0(Mem{Base: p, Disp: 4096 + 64})
		PREFETCHT0(Mem{Base: p, Disp: 4096 + 128})
		PREFETCHT0(Mem{Base: p, Disp: 4096 + 192})
		ADDQ(U32(256), p)
	})
	emit.Ret()
}
