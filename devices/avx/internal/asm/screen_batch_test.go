package asm

import (
	"math"
	"slices"
	"testing"
)

// TestScreenNibbles4 compares with the plain form, which TestScreen compares with sums.
func TestScreenNibbles4(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(7)
		for _, s := range [][2]int{{1, 2}, {3, 4}, {4, 20}, {5, 54}} { // groups, blocks
			groups, blocks := s[0], s[1]
			rows, size := screenGroup*groups, 2*ScreenSlot*blocks
			w := guardedCopy(t, int8ToBytes(randI8(r, rows*blocks*64)), groups%2 == 0)
			qa, qb := guardedCopy(t, randI8(r, size), false), guardedCopy(t, fill(size, int8(-128)), true)
			bases := [ScreenTokens]float64{0, 30 * 77, -30 * 1e6, 5}
			acc := make([]int32, 2*rows)
			var got, want [ScreenTokens][]float64
			for i := range got {
				got[i], want[i] = guarded[float64](t, rows, i%2 == 0), make([]float64, rows)
			}
			Generic.ScreenNibbles4(&want, w, qa, qb, groups, blocks, &bases, acc, nil)
			isa.ScreenNibbles4(&got, w, qa, qb, groups, blocks, &bases, acc, nil)
			for i := range got {
				for j, v := range got[i] {
					if v != want[i][j] {
						t.Fatalf("%d groups of %d blocks: token %d, row %d is %v, want %v", groups, blocks, i, j, v, want[i][j])
					}
				}
			}
		}
	})
}

func TestScreenListSet(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(8)
		for _, n := range []int{1, 15, 16, 17, 48, 100} {
			most := guarded[float32](t, n, n%2 == 0)
			for i := range most {
				most[i] = []float32{-1, 0.25, 0.5, 7, float32(math.NaN()), float32(math.Inf(-1))}[r.IntN(6)]
			}
			for _, cut := range []float32{0.25, 0.5, 8, float32(math.Inf(-1)), float32(math.NaN())} {
				var want []uint32
				for i, m := range most {
					if !(m < cut) {
						want = append(want, uint32(i))
					}
				}
				list := NewScreenList(make([]uint32, ScreenListLen(n)))
				if got := list.Set(isa, most, cut); !slices.Equal(got, want) {
					t.Fatalf("%d rows, cut %v: %v are listed, want %v", n, cut, got, want)
				}
			}
		}
	})
}
