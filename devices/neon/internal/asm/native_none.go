//go:build !arm64 || purego

package asm

// native says that this build has assembly.
const native = false

const noAssembly = "asm: this build has no assembly; only the Generic ISA is available"

func ternary1Dot(acc *int32, w *byte, q *int8, blocks, panels int, init int32) { panic(noAssembly) }

func ternary1Mull(acc *int32, w *byte, q *int8, blocks, panels int, init int32) { panic(noAssembly) }

func ternary4Dot(acc *int32, ldacc int, w *byte, q *int8, ldq, blocks, panels int, init *int32) {
	panic(noAssembly)
}

func rescaleNEON(y *float32, acc *int32, groups int, f float32) { panic(noAssembly) }

func rescaleAddNEON(y *float32, acc *int32, res *float32, groups int, f float32) { panic(noAssembly) }

func absMaxNEON(x *float32, groups int) float32 { panic(noAssembly) }

func quantizeNEON(q *int8, x *float32, groups int, scale float32) { panic(noAssembly) }

func sumSquaresNEON(s *float64, x *float32, groups int) { panic(noAssembly) }

func scaleMulNEON(y, x, w *float32, groups int, r float32) { panic(noAssembly) }

func scaleMulAbsMaxNEON(x, w *float32, groups int, r float32) float32 { panic(noAssembly) }

func scaleMulQuantizeNEON(q *int8, x, w *float32, groups int, r, scale float32) { panic(noAssembly) }

func relu2MulNEON(y, gate, up *float32, groups int) { panic(noAssembly) }

func dotF32NEON(s, w, x *float32, groups int) { panic(noAssembly) }

func dotBF16NEON(s *float32, w *uint16, x *float32, groups int) { panic(noAssembly) }

func dotF16NEON(s *float32, w *uint16, x *float32, groups int) { panic(noAssembly) }
