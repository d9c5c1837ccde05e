package asm

import "github.com/trit-ml/trit/internal/cpu"

// ISA selects the instruction set that a kernel runs with. Results are the same
// bits on every ISA.
//
// Calling a method on an ISA that the processor lacks ends the process: take
// values from Available or Best.
type ISA uint8

const (
	// Generic is plain Go, the oracle for the others.
	Generic ISA = iota
	// NEON is Advanced SIMD, which every 64-bit Arm processor for systems has.
	NEON
	// DotProd has SDOT besides (Armv8.2, optional; Armv8.4), for ternary products.
	DotProd
)

// String returns the lower-case name.
func (isa ISA) String() string {
	switch isa {
	case NEON:
		return "neon"
	case DotProd:
		return "dotprod"
	}
	return "generic"
}

// Available lists the instruction sets that the features allow in this build,
// slowest first; Generic is always there and under the purego build tag, or on
// another architecture, it is alone.
func Available(features cpu.Set) []ISA {
	list := []ISA{Generic}
	if native && features.Has(cpu.NEON) {
		list = append(list, NEON)
		if features.Has(cpu.DotProd) {
			list = append(list, DotProd)
		}
	}
	return list
}

// Best returns the fastest instruction set that the features allow.
func Best(features cpu.Set) ISA {
	list := Available(features)
	return list[len(list)-1]
}
