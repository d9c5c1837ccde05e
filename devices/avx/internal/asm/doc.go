// Package asm holds the raw kernels of the AVX device: plain functions on
// slices, each with a twin in plain Go that means the same.
//
// Every kernel is a method of [ISA], the instruction set it runs with. Methods
// check that their slices are long enough for the given shape and panic, as an
// index out of range does, before assembly touches them; callers bind kernels
// with shapes they have verified. No method allocates. Matrices are row-major.
//
// Ternary products, integers that are equal on every ISA:
//
//	PackedBytes, PackTernary, PackTernaryRows, UnpackTernary   layout i2x16
//	SumI8                      Σ q, the correction for unsigned codes
//	TernaryGEMV                acc[n] = W·q for a range of rows
//	TernaryGEMM                acc[m,n] = Q·Wᵀ for a range of rows and tokens
//	TernaryScratch             scratch bytes of TernaryGEMM
//
// Products with rows of weights, whose reduction order depends on neither the
// number of tokens nor the split over threads:
//
//	DotF32, DotBF16, DotF16    y[m,rows] = X·Wᵀ
//	DotI8                      the same on int8 to int32, exact
//	AccumF32, AccumBF16, AccumF16   dst += Σ p[j]·v[j]: attention's P·V
//	NewProduct, ProductScratch C = op(A)·op(B) or C += op(A)·op(B), in tasks
//
// Rows:
//
//	AbsMax, Max, Sum, SumSquares, Dot, SumAbs
//	QuantizeI8, FakeQuantI8    activation quantiser
//	QuantizeTernary, FakeQuantTernary, TernaryScale   weight quantiser
//	RMSNorm, RMSNormQuant      norm, and norm with QuantizeI8 after it
//	Softmax, InvRMS, Rotate
//
// Element by element, the same bits on every ISA:
//
//	Add, Mul, MulAdd, SubMul, Scale, Axpy, Relu2, Relu2Mul, Relu2Grad
//	Rescale, RescaleAdd, Exp, ExpScaled, AdamW
//	BF16ToF32, F32ToBF16, F16ToF32, F32ToF16
//
// What the machine could do at best, for benchmarks:
//
//	ReadStream, PeakMAC, PeakFMA
//
// The assembly is generated: run go generate after a change in _asm, a module
// of its own, and commit what it writes. The purego build tag leaves it out.
package asm
