// Command vector generates the kernels on rows and flat arrays of float32.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func main() {
	emit.Begin()
	reductions()
	quantizers()
	elementwise()
	exp("AVX2", 8, func() reg.VecVirtual { return YMM() })
	exp("AVX512", 16, func() reg.VecVirtual { return ZMM() })
	adamW()
	conversions()
	train()
	Generate()
}

// at is vector i of 32 bytes behind p.
func at(p reg.Register, i int) Mem { return Mem{Base: p, Disp: 32 * i} }

func advance(bytes uint32, ptrs ...reg.Register) {
	for _, p := range ptrs {
		ADDQ(U32(bytes), p)
	}
}

// scalar broadcasts a float32 argument. No legacy SSE move may come between AVX
// instructions: on some processors it waits for the upper halves.
func scalar(name string) reg.VecVirtual {
	y := YMM()
	VBROADCASTSS(emit.Address(Param(name)), y)
	return y
}

var constants = map[uint32]Mem{}

// word is a vector of eight equal 32-bit words in memory.
func word(v uint32) Mem {
	m, ok := constants[v]
	if !ok {
		m = GLOBL("word"+hex(v), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(v))
		}
		constants[v] = m
	}
	return m
}

func float(v float32) Mem { return word(math.Float32bits(v)) }

func hex(v uint32) string {
	const digits = "0123456789abcdef"
	var b [8]byte
	for i := range b {
		b[i] = digits[v>>(28-4*i)&15]
	}
	return string(b[:])
}

func constant(m Mem) reg.VecVirtual {
	y := YMM()
	VMOVUPS(m, y)
	return y
}

func zeroed(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = YMM()
		VXORPS(v[i], v[i], v[i])
	}
	return v
}
