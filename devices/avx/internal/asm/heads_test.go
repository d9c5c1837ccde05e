package asm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// TestHeadsAreAccum compares heads taken together with heads one by one, bit for
// bit, on every instruction set and element type.
func TestHeadsAreAccum(t *testing.T) {
	set, err := cpu.Detect()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 4))
	floats := func(n int) []float32 {
		x := guarded[float32](t, n, false)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	for _, isa := range Available(set) {
		for _, hd := range []int{1, 7, 16, 40, 64, 100, 128} {
			for _, m := range []int{1, 3, 4, 5, 8} {
				for _, rows := range []int{1, 2, 31} {
					ldv, ldp, ldd := hd+r.IntN(3)*8, rows+r.IntN(9), hd+2
					v32, p := floats((rows-1)*ldv+hd), floats((m-1)*ldp+rows)
					v16 := guarded[uint16](t, len(v32), false)
					for kind, f := range map[dotKind]struct {
						heads func(dst []float32)
						one   func(dst, p []float32)
					}{
						dotF32: {func(d []float32) { isa.HeadsF32(d, ldd, p, ldp, v32, ldv, rows, m, hd) },
							func(d, p []float32) { isa.AccumF32(d, p, v32, ldv) }},
						dotBF16: {func(d []float32) { isa.HeadsBF16(d, ldd, p, ldp, v16, ldv, rows, m, hd) },
							func(d, p []float32) { isa.AccumBF16(d, p, v16, ldv) }},
						dotF16: {func(d []float32) { isa.HeadsF16(d, ldd, p, ldp, v16, ldv, rows, m, hd) },
							func(d, p []float32) { isa.AccumF16(d, p, v16, ldv) }},
					} {
						for i := range v16 {
							v16[i] = uint16(r.Uint32()) & 0xbbff // finite in both formats
						}
						want := floats((m-1)*ldd + hd)
						got := guardedCopy(t, want, false)
						for h := range m {
							f.one(want[h*ldd:][:hd], p[h*ldp:][:rows])
						}
						f.heads(got)
						for i := range got {
							if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
								t.Fatalf("%s, kind %d, %d heads of %d, %d rows: element %d is %v, want %v", isa, kind, m, hd, rows, i, got[i], want[i])
							}
						}
					}
				}
			}
		}
	}
}

// TestDotOfFourTokens compares products of four tokens and eight rows at a time
// with products of one token, bit for bit.
func TestDotOfFourTokens(t *testing.T) {
	set, err := cpu.Detect()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(6, 4))
	for _, isa := range Available(set) {
		for _, k := range []int{16, 32, 64, 96, 128, 256} {
			for _, m := range []int{3, 4, 7, 8} {
				for _, rows := range []int{1, 8, 13, 32} {
					ldw, ldx, ldy := k+8*r.IntN(3), k+r.IntN(3), rows+r.IntN(3)
					w32, w16 := guarded[float32](t, (rows-1)*ldw+k, false), guarded[uint16](t, (rows-1)*ldw+k, false)
					x := guarded[float32](t, (m-1)*ldx+k, false)
					for i := range w32 {
						w32[i], w16[i] = float32(r.NormFloat64()), uint16(r.Uint32())&0xbbff
					}
					for i := range x {
						x[i] = float32(r.NormFloat64())
					}
					for kind, dot := range map[dotKind]func(y []float32, ldy int, x []float32, m int){
						dotF32:  func(y []float32, ldy int, x []float32, m int) { isa.DotF32(y, ldy, w32, ldw, x, ldx, rows, m, k) },
						dotBF16: func(y []float32, ldy int, x []float32, m int) { isa.DotBF16(y, ldy, w16, ldw, x, ldx, rows, m, k) },
						dotF16:  func(y []float32, ldy int, x []float32, m int) { isa.DotF16(y, ldy, w16, ldw, x, ldx, rows, m, k) },
					} {
						got, one := guarded[float32](t, (m-1)*ldy+rows, false), make([]float32, rows)
						dot(got, ldy, x, m)
						for i := range m {
							dot(one, rows, x[i*ldx:], 1)
							for j, v := range one {
								if g := got[i*ldy+j]; math.Float32bits(g) != math.Float32bits(v) {
									t.Fatalf("%s, kind %d, k %d: token %d of %d, row %d of %d is %v, alone %v", isa, kind, k, i, m, j, rows, g, v)
								}
							}
						}
					}
				}
			}
		}
	}
}
