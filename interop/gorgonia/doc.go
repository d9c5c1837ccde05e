// Package gorgonia is the bridge between trit and gorgonia.org/gorgonia. In the
// examples G stands for Gorgonia's package.
//
// There are two ways to use it:
//
//   - [Import] turns a Gorgonia graph into a trit graph, with the same weights in
//     the same memory; [Ternarize] makes BitLinears of chosen layers, and a
//     [Trainer] or a [Machine] trains or runs the result on any trit device.
//   - [BitLinear], [SubLN], [RoPE] and [ReLU2] are ops for use inside Gorgonia:
//     its tape and lisp machines and its solvers run quantization-aware training
//     with them. An [Engine] gives Gorgonia's own MatMul trit's kernels.
//
// [FromDense] and [ToDense] convert tensors without a copy.
//
// # What can be imported
//
// Values are float32; indices of G.ByIndices are int and become i32. Shapes are
// known when the graph is built, but the first axis of inputs may become a
// symbol, see [Batch]. These ops have counterparts:
//
//   - Add, Sub, HadamardProd, HadamardDiv, comparisons that return floats, and
//     Pow with a constant exponent of ±1/2, ±1, 2, 3 or 4;
//   - Abs, Sign, Sin, Cos, Exp, Expm1, Log, Log2, Log1p, Neg, Square, Sqrt, Cube,
//     Inverse, InverseSqrt, Tanh, Sigmoid, Softplus;
//   - Mul of matrices and vectors, OuterProd, BatchedMatMul;
//   - Sum, Mean, SoftMax and LogSoftMax along any axis;
//   - Reshape, Ravel, Transpose, Slice, Concat, ByIndices along axis 0, and the
//     broadcasts;
//   - the ops of this package.
//
// Rectify is recognised as a gated product, Mean as a sum over a size, and a
// transpose before a product becomes part of it. Another op is refused by name,
// with the path to its node.
//
// # Where Gorgonia differs
//
// Four gradients of Gorgonia v0.9.18 are not the derivative of the value, and
// imported graphs have the derivative instead: those of InverseSqrt, of Log2, of
// OuterProd, and of SoftMax over a column when no axis is given. A tape machine
// may also overwrite a value that a Reshape has read and that is needed again.
// The tests of this package hold these claims and compare everything else.
package gorgonia

import (
	// Gorgonia asks for a version of this module that panics on today's Go;
	// naming it here keeps the raised version in go.mod.
	_ "go4.org/unsafe/assume-no-moving-gc"
)
