// Package avx is the device for x86-64 processors with AVX2, and with AVX-512
// where it helps: tables of kernels over the assembly of internal/asm.
//
// One file holds one family of ops: its table rows, then how they are bound. A
// row's name says what it is, its weight layout if it has one, and the
// instruction set: "fused.bitlinear.i2x16.avx512". What has no row runs through
// the op's reference implementation, which the plan shows as "ref".
//
// # Numbers
//
// Every kernel gives the same bits for any number of threads: work is split into
// tasks whose boundaries depend on extents alone, and what tasks reduce is added
// in a fixed order. In inference, a row's bits also do not depend on what else
// is in the batch: the rows of a product are reduced in an order of their own,
// and attention splits a sequence at fixed positions.
package avx
