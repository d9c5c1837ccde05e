package asm

import "github.com/trit-ml/trit/internal/cpu"

// ISA selects the instruction set that a kernel runs with. Integer results are
// the same on every ISA; for floats each kernel says whether they are.
//
// Calling a method on an ISA that the processor lacks ends the process: take
// values from Available or Best.
type ISA uint8

const (
	// Generic is plain Go, the oracle for the others.
	Generic ISA = iota
	// AVX2 needs AVX2, FMA and F16C.
	AVX2
	// AVXVNNI needs AVX-VNNI besides, for the ternary kernels.
	AVXVNNI
	// AVX512 needs AVX-512 F, BW, DQ, VL and VNNI beyond AVX2. Kernels that gain
	// nothing from it run their AVX2 form.
	AVX512
)

// String returns the lower-case name.
func (isa ISA) String() string {
	switch isa {
	case AVX2:
		return "avx2"
	case AVXVNNI:
		return "avxvnni"
	case AVX512:
		return "avx512"
	}
	return "generic"
}

// Available lists the instruction sets that the features allow in this build,
// slowest first; Generic is always there and under the purego build tag, or on
// another architecture, it is alone.
func Available(features cpu.Set) []ISA {
	list := []ISA{Generic}
	if native && features.Has(cpu.AVX2|cpu.FMA|cpu.F16C) {
		list = append(list, AVX2)
		if features.Has(cpu.AVXVNNI) {
			list = append(list, AVXVNNI)
		}
		if features.Has(cpu.AVX512 | cpu.AVX512VNNI) {
			list = append(list, AVX512)
		}
	}
	return list
}

// Best returns the fastest instruction set that the features allow.
func Best(features cpu.Set) ISA {
	list := Available(features)
	return list[len(list)-1]
}
