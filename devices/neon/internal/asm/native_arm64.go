//go:build arm64 && !purego

package asm

// native says that this build has assembly.
const native = true

// acc[16·panels] = w·q + init, for whole panels of blocks 64-byte blocks each;
// q has 16·blocks entries. blocks and panels are at least 1.

//go:noescape
func ternary1Dot(acc *int32, w *byte, q *int8, blocks, panels int, init int32)

//go:noescape
func ternary1Mull(acc *int32, w *byte, q *int8, blocks, panels int, init int32)

// ternary4Dot does four rows of q, ldq entries apart, to four rows of acc, ldacc
// entries apart, with an init each.
//
//go:noescape
func ternary4Dot(acc *int32, ldacc int, w *byte, q *int8, ldq, blocks, panels int, init *int32)

// The rest works on groups of 16 elements, at least one.

//go:noescape
func rescaleNEON(y *float32, acc *int32, groups int, f float32)

//go:noescape
func rescaleAddNEON(y *float32, acc *int32, res *float32, groups int, f float32)

//go:noescape
func absMaxNEON(x *float32, groups int) float32

//go:noescape
func quantizeNEON(q *int8, x *float32, groups int, scale float32)

//go:noescape
func sumSquaresNEON(s *float64, x *float32, groups int)

//go:noescape
func scaleMulNEON(y, x, w *float32, groups int, r float32)

//go:noescape
func scaleMulAbsMaxNEON(x, w *float32, groups int, r float32) float32

//go:noescape
func scaleMulQuantizeNEON(q *int8, x, w *float32, groups int, r, scale float32)

//go:noescape
func relu2MulNEON(y, gate, up *float32, groups int)

// The dots store the 16 sums.

//go:noescape
func dotF32NEON(s, w, x *float32, groups int)

//go:noescape
func dotBF16NEON(s *float32, w *uint16, x *float32, groups int)

//go:noescape
func dotF16NEON(s *float32, w *uint16, x *float32, groups int)
