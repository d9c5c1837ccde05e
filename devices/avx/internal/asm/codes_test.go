package asm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// TestCodesAreGeneric compares products with a cache of codes on every instruction
// set with plain Go, bit for bit, at the largest factors too.
func TestCodesAreGeneric(t *testing.T) {
	set, err := cpu.Detect()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(8, 3))
	for _, isa := range Available(set) {
		for _, hd := range []int{4, 8, 12, 40, 64, 100, 128, 512} {
			for _, size := range []int{4, 8, 12, 32, 44, 64} {
				for _, m := range []int{1, 2, 4, 5} {
					largest := r.IntN(3) == 0
					bytes, q := guarded[int8](t, hd*size, false), guarded[int16](t, (m-1)*(hd+3)+hd, false)
					p := guarded[int16](t, (m-1)*(size+1)+size, false)
					for i := range bytes {
						if bytes[i] = int8(r.IntN(255) - 127); largest {
							bytes[i] = -127
						}
					}
					for i := range q {
						if q[i] = int16(r.IntN(65535) - 32767); largest {
							q[i] = 32767
						}
					}
					for i := range p {
						if p[i] = int16(r.IntN(32768)); largest {
							p[i] = 32767
						}
					}
					steps, scales := guarded[float32](t, size, false), guarded[float32](t, m, false)
					for i := range steps {
						steps[i] = r.Float32()
					}
					for i := range scales {
						scales[i] = r.Float32()
					}
					want, got := make([]float32, (m-1)*(size+2)+size), guarded[float32](t, (m-1)*(size+2)+size, false)
					Generic.CodesDot(want, size+2, bytes, q, hd+3, steps, scales, hd, r.IntN(1<<20))
					isa.CodesDot(got, size+2, bytes, q, hd+3, steps, scales, hd, r.IntN(1<<20))
					for i := range want {
						if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
							t.Fatalf("%s, %d heads of %d, %d positions: score %d is %v, want %v", isa, m, hd, size, i, got[i], want[i])
						}
					}
					sums, acc := make([]int32, (m-1)*(hd+5)+hd), guarded[int32](t, (m-1)*(hd+5)+hd, false)
					for i := range sums {
						sums[i] = int32(i)
						acc[i] = sums[i]
					}
					Generic.CodesAccum(sums, hd+5, p, size+1, bytes, size, m, hd, r.IntN(1<<20))
					isa.CodesAccum(acc, hd+5, p, size+1, bytes, size, m, hd, r.IntN(1<<20))
					if !slices.Equal(sums, acc) {
						t.Fatalf("%s, %d heads of %d, %d positions: other sums of values", isa, m, hd, size)
					}
				}
			}
		}
		for n := range 70 {
			x := guarded[float32](t, n, false)
			for i := range x {
				x[i] = float32(r.NormFloat64()) * float32(math.Ldexp(1, r.IntN(250)-125))
			}
			for _, x := range [][]float32{x, make([]float32, n)} {
				want, got := make([]int16, n), guarded[int16](t, n, false)
				a, b := Generic.QuantizeI16(want, x), isa.QuantizeI16(got, x)
				if a != b || !slices.Equal(want, got) {
					t.Fatalf("%s: %d values have the step %v, want %v, and codes %v, want %v", isa, n, b, a, got, want)
				}
			}
		}
	}
}
