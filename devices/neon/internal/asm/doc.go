// Package asm holds the raw kernels of the NEON device: plain functions on
// slices, each with a twin in plain Go that means the same to the last bit.
//
// Every kernel is a method of [ISA], the instruction set it runs with. Methods
// slice their arguments to the given shape, which panics as an index out of
// range does, before assembly touches them. No method allocates. Matrices are
// row-major.
//
//	PackedBytes, PackTernaryRows, NotTernary   layout i2x16
//	SumI8, PadRow                              what the products need of activations
//	Ternary                                    acc[m,rows] = Q·Wᵀ on whole panels, exact
//	Rescale, RescaleAdd                        epilogues
//	QuantizeI8, RMSNorm, RMSNormQuant, Relu2Mul
//	DotF32, DotBF16, DotF16                    y[m,rows] = X·Wᵀ, one order for every m
//
// The assembly is written by hand. Go's assembler has no words for many vector
// instructions; those are WORD directives with the instruction in GNU syntax
// beside them, and a test holds each word to what objdump says it is. The purego
// build tag leaves the assembly out.
package asm
