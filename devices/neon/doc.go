// Package neon is the device for 64-bit Arm processors: a table of kernels over
// the assembly of internal/asm. Ternary products use SDOT where the processor
// has it.
//
// One file holds one family of ops: its table rows, then how they are bound. A
// row's name says what it is, its weight layout if it has one, and the
// instruction set: "fused.bitlinear.i2x16.dotprod". It covers what BitNet's
// linear layers and the output head need; everything else, attention among it,
// runs through the op's reference implementation, which the plan shows as "ref".
//
// # Numbers
//
// Every kernel gives the same bits for any number of threads and whatever else
// is in the batch, with SDOT, without it and in plain Go.
package neon
