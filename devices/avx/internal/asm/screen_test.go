package asm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// TestScreenedSums compares every instruction set with sums taken weight by
// weight, at the largest values too, with memory that ends where operands do.
func TestScreenedSums(t *testing.T) {
	set, err := cpu.Detect()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, blocks := range []int{0, 1, 2, 3, 10, 40} {
		for _, rows := range []int{0, 4, 8, 36} {
			for _, extreme := range []bool{false, true} {
				ld := 64 * blocks
				w := guarded[byte](t, rows*ld, false)
				for i := range w {
					w[i] = byte(r.Uint32())
					if extreme {
						w[i] = 0xff
					}
				}
				for _, bits := range []int{4, 2} {
					columns := blocks * 64 * 8 / bits
					q := make([]int16, columns)
					for i := range q {
						q[i] = int16(r.IntN(64001) - 32000)
						if extreme {
							q[i] = -32640 // both bytes are -128
						}
					}
					x := guarded[int8](t, 2*columns, false)
					SplitI16(x, q)
					want := make([]int64, rows)
					for row := range rows {
						for c, v := range q {
							per := 8 / bits * 64
							u := w[row/4*4*ld+(c/per*4+row%4)*64+c%64] >> (c % per / 64 * bits) & (1<<bits - 1)
							if bits == 2 {
								v = int16((int32(v) - int32(int8(v))) / 256)
							}
							want[row] += int64(u) * int64(v)
						}
					}
					for _, isa := range Available(set) {
						got := make([]int64, rows)
						if bits == 4 {
							acc := guarded[int32](t, 2*rows, false)
							isa.ScreenNibbles(acc, w, x, rows/4, blocks)
							for i := range got {
								got[i] = 256*int64(acc[2*i]) + int64(acc[2*i+1])
							}
						} else {
							acc := guarded[int32](t, rows, false)
							isa.ScreenCrumbs(acc, w, x, rows/4, blocks)
							for i := range got {
								got[i] = int64(acc[i])
							}
							checkCrumbsList(t, isa, w, x, blocks, got)
						}
						if !slices.Equal(got, want) {
							t.Fatalf("%s, %d bits, %d rows of %d blocks, extreme %v: got %v, want %v", isa, bits, rows, blocks, extreme, got, want)
						}
					}
				}
			}
		}
	}
}

// checkCrumbsList multiplies every third row, and all of them, as a list.
func checkCrumbsList(t *testing.T, isa ISA, w []byte, x []int8, blocks int, want []int64) {
	t.Helper()
	for _, step := range []int{1, 3} {
		most := make([]float32, len(want))
		for r := range most {
			if r%step != 0 {
				most[r] = -1
			}
		}
		list := NewScreenList(make([]uint32, ScreenListLen(len(want))))
		rows := list.Set(isa, most, 0)
		acc := guarded[int32](t, ceilDiv(len(rows), screenGroup)*screenGroup, false)
		isa.ScreenCrumbsList(acc, w, x, &list, blocks)
		if len(rows) != ceilDiv(len(want), step) {
			t.Fatalf("%d of %d rows are listed, want each %d.", len(rows), len(want), step)
		}
		for i, r := range rows {
			if int64(acc[i]) != want[r] {
				t.Fatalf("%s, row %d of a list: got %d, want %d", isa, r, acc[i], want[r])
			}
		}
	}
}

// TestScreenIntervals compares every instruction set with the plain form, which
// rounds as often: the numbers are equal.
func TestScreenIntervals(t *testing.T) {
	r := newRand(4)
	inf := float32(math.Inf(1))
	for _, n := range []int{0, 1, 4, 7, 8, 9, 64, 100} {
		least, most, steps := guarded[float32](t, n, false), guarded[float32](t, n, false), guarded[float64](t, n, false)
		bounds := guarded[float32](t, 4*n, false)
		for i := range steps {
			steps[i] = r.NormFloat64() * 1e4
			if r.IntN(20) == 0 {
				steps[i] = math.NaN()
			}
		}
		for i := range bounds {
			bounds[i] = r.Float32()
			if r.IntN(30) == 0 {
				bounds[i] = []float32{0, inf, 1e38}[r.IntN(3)]
			}
		}
		for _, f := range []ScreenBounds{
			{0.01, 0.1, 0.2, 1e-6, 3, 1e-30, 2, 1e37, math.MaxFloat32},
			{0, math.Inf(1), math.Inf(1), 1e-6, 0, 1e-30, math.NaN(), 1e37, math.MaxFloat32},
		} {
			for lost := 1; lost <= 2; lost++ {
				wantLeast, wantMost := make([]float32, n), make([]float32, n)
				Generic.ScreenIntervals(wantLeast, wantMost, steps, bounds, lost, &f)
				eachISA(t, func(t *testing.T, isa ISA) {
					isa.ScreenIntervals(least, most, steps, bounds, lost, &f)
					if !slices.Equal(least, wantLeast) || !slices.Equal(most, wantMost) {
						t.Errorf("%d rows: %v to %v, want %v to %v", n, least, most, wantLeast, wantMost)
					}
				})
			}
		}
	}
}
