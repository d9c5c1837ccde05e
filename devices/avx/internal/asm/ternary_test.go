package asm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// naive is the definition, on unpacked codes and in int64 so that it cannot
// wrap where a kernel might.
func naive(codes, q []int8, n, k int) []int32 {
	out := make([]int32, n)
	for r := range out {
		var s int64
		for i := range k {
			s += int64(codes[r*k+i]) * int64(q[i])
		}
		out[r] = int32(s)
	}
	return out
}

var ternaryShapes = [][2]int{ // n, k
	{1, 1}, {1, 16}, {16, 1}, {3, 5}, {15, 15}, {16, 16}, {17, 17}, {31, 33}, {33, 127}, {16, 128}, {48, 129},
	{80, 255}, {65, 256}, {100, 260}, {130, 641}, {7, 2560}, {16, 6912}, {97, 1100}, {200, 96},
}

// hostile lists activation and weight values that overflow narrow sums.
var hostile = []struct{ code, q int8 }{{1, 127}, {1, -128}, {-1, 127}, {-1, -128}, {0, 127}, {0, -128}}

func TestPackTernaryRoundTrip(t *testing.T) {
	r := newRand(1)
	for _, s := range ternaryShapes {
		n, k := s[0], s[1]
		codes := randCodes(r, n*k)
		packed := fill[byte](PackedBytes(n, k), 0xff)
		PackTernary(packed, codes, n, k)
		back := make([]int8, n*k)
		UnpackTernary(back, packed, n, k)
		if !slices.Equal(codes, back) {
			t.Fatalf("%dx%d: round trip differs", n, k)
		}
		parts := fill[byte](PackedBytes(n, k), 0xff)
		for r0 := 0; r0 < n; r0 += 32 {
			r1 := min(r0+32, n)
			PackTernaryRows(parts, codes[r0*k:r1*k], n, k, r0, r1)
		}
		if diff := cmp.Diff(packed, parts); diff != "" {
			t.Fatalf("%dx%d: packing in parts differs:\n%s", n, k, diff)
		}
	}
}

// A change of layout must be deliberate: caches and other code may rely on it.
func TestPackTernaryLayout(t *testing.T) {
	codes := make([]int8, 17*18) // two panels, two blocks
	for i := range codes {
		codes[i] = -1 // u = 0
	}
	codes[3*18+6] = 1   // u = 2: row 3, k 6: byte 4*3+2, bits 2,3
	codes[16*18+17] = 0 // u = 1: panel 1, row 0, block 1, k 1: byte 1, bits 0,1
	packed := make([]byte, PackedBytes(17, 18))
	PackTernary(packed, codes, 17, 18)
	want := make([]byte, 4*64)
	want[14] = 2 << 2
	want[2*64+64+1] = 1
	if diff := cmp.Diff(want, packed); diff != "" {
		t.Fatal(diff)
	}
}

func TestSumI8(t *testing.T) {
	r := newRand(5)
	for _, n := range append(lengths, 1023, 1024, 1025, 6912) {
		for _, q := range [][]int8{randI8(r, n), fill(n, int8(127)), fill(n, int8(-128))} {
			var want int32
			for _, v := range q {
				want += int32(v)
			}
			for _, front := range []bool{false, true} {
				if got := SumI8(guardedCopy(t, q, front)); got != want {
					t.Fatalf("sum of %d = %d, want %d", n, got, want)
				}
			}
		}
	}
}

func TestTernaryGEMV(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(2)
		for i, s := range ternaryShapes {
			n, k := s[0], s[1]
			codes, q := randCodes(r, n*k), randI8(r, k)
			checkGEMV(t, isa, codes, q, n, k, i%2 == 0)
		}
		for _, h := range hostile {
			n, k := 33, 4119
			checkGEMV(t, isa, fill(n*k, h.code), fill(k, h.q), n, k, false)
		}
	})
}

func checkGEMV(t *testing.T, isa ISA, codes, q []int8, n, k int, front bool) {
	t.Helper()
	packed := guarded[byte](t, PackedBytes(n, k), front)
	PackTernary(packed, codes, n, k)
	gq := guardedCopy(t, q, front)
	acc := guarded[int32](t, n, front)
	want := naive(codes, q, n, k)
	isa.TernaryGEMV(acc, packed, gq, SumI8(q), n, k, 0, n)
	if !slices.Equal(acc, want) {
		t.Fatalf("%dx%d: got %v, want %v", n, k, acc, want)
	}
	// In ranges: rows outside stay untouched.
	const canary = -0x5a5a5a5b
	for r0 := 0; r0 < n; r0 += 3 * PanelRows {
		for i := range acc {
			acc[i] = canary
		}
		r1 := min(r0+2*PanelRows, n)
		isa.TernaryGEMV(acc, packed, gq, SumI8(q), n, k, r0, r1)
		for i, v := range acc {
			w := int32(canary)
			if r0 <= i && i < r1 {
				w = want[i]
			}
			if v != w {
				t.Fatalf("%dx%d rows [%d,%d): row %d is %d, want %d", n, k, r0, r1, i, v, w)
			}
		}
	}
}

func TestTernaryGEMM(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(3)
		for i, s := range ternaryShapes {
			for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25, 31} {
				n, k := s[0], s[1]
				if m*n*k > 1<<17 && m%12 > 1 {
					continue
				}
				checkGEMM(t, isa, randCodes(r, n*k), randI8(r, m*k), m, n, k, i%2 == 0)
			}
		}
		for m := 1; m <= 17; m++ { // every width of tile
			checkGEMM(t, isa, randCodes(r, 50*40), randI8(r, m*40), m, 50, 40, m%2 == 0)
			checkGEMM(t, isa, randCodes(r, 72*48), randI8(r, m*48), m, 72, 48, m%2 == 0)
		}
		for _, h := range hostile {
			m, n, k := 19, 47, 4119
			checkGEMM(t, isa, fill(n*k, h.code), fill(m*k, h.q), m, n, k, false)
		}
	})
}

func checkGEMM(t *testing.T, isa ISA, codes, q []int8, m, n, k int, front bool) {
	t.Helper()
	packed := guarded[byte](t, PackedBytes(n, k), front)
	PackTernary(packed, codes, n, k)
	gq := guardedCopy(t, q, front)
	scratch := guarded[byte](t, TernaryScratch(k), front)
	acc := guarded[int32](t, m*n, front)
	sums, want := make([]int32, m), make([]int32, 0, m*n)
	for i := range m {
		sums[i] = SumI8(q[i*k : (i+1)*k])
		want = append(want, naive(codes, q[i*k:(i+1)*k], n, k)...)
	}
	isa.TernaryGEMM(acc, packed, gq, sums, m, n, k, 0, n, 0, m, scratch)
	if !slices.Equal(acc, want) {
		t.Fatalf("m %d, %dx%d differs", m, n, k)
	}
	// A rectangle in the middle, with the rest untouched.
	const canary = -0x5a5a5a5b
	for i := range acc {
		acc[i] = canary
	}
	r0, r1, t0, t1 := n/3/PanelRows*PanelRows, n, m/4, m-m/5
	isa.TernaryGEMM(acc, packed, gq, sums, m, n, k, r0, r1, t0, t1, scratch)
	for i, v := range acc {
		w := int32(canary)
		if row, tok := i%n, i/n; r0 <= row && row < r1 && t0 <= tok && tok < t1 {
			w = want[i]
		}
		if v != w {
			t.Fatalf("m %d, %dx%d: token %d row %d is %d, want %d", m, n, k, i/n, i%n, v, w)
		}
	}
}

func TestTernaryAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		m, n, k := 14, 70, 100
		packed, q, sums := make([]byte, PackedBytes(n, k)), make([]int8, m*k), make([]int32, m)
		acc, scratch := make([]int32, m*n), make([]byte, TernaryScratch(k))
		if a := testing.AllocsPerRun(10, func() {
			isa.TernaryGEMV(acc[:n], packed, q, 0, n, k, 0, n)
			isa.TernaryGEMM(acc, packed, q, sums, m, n, k, 0, n, 0, m, scratch)
		}); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}

func TestRowRangesAreChecked(t *testing.T) {
	n, k := 40, 16
	packed, q, acc := make([]byte, PackedBytes(n, k)), make([]int8, k), make([]int32, n)
	for _, rr := range [][2]int{{1, 40}, {0, 41}, {0, 17}, {-16, 16}, {32, 16}} {
		t.Run(fmt.Sprint(rr), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			AVX2.TernaryGEMV(acc, packed, q, 0, n, k, rr[0], rr[1])
		})
	}
}

// TestTernaryPanels multiplies with panels made of codes, in memory that ends
// where it should.
func TestTernaryPanels(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(11)
		for i, s := range append(ternaryShapes, [2]int{33, 4119}, [2]int{48, 64}, [2]int{130, 272}) {
			for _, m := range []int{1, 5, 12, 25} {
				n, k, front := s[0], s[1], i%2 == 0
				if m*n*k > 1<<20 {
					continue
				}
				codes, q := guardedCopy(t, randCodes(r, n*k), front), guardedCopy(t, randI8(r, m*k), front)
				panels, scratch := guarded[byte](t, TernaryPanelsBytes(n, k), front), guarded[byte](t, TernaryScratch(k), front)
				for j := range panels {
					panels[j] = 0xa5
				}
				for r0 := 0; r0 < n; r0 += 2 * PanelRows {
					isa.TernaryPanels(panels, codes, n, k, r0, min(n, r0+2*PanelRows))
				}
				sums, want := make([]int32, m), []int32(nil)
				for j := range m {
					sums[j] = SumI8(q[j*k : (j+1)*k])
					want = append(want, naive(codes, q[j*k:(j+1)*k], n, k)...)
				}
				acc := guarded[int32](t, m*n, front)
				split := n / 3 / PanelRows * PanelRows
				isa.TernaryMulPanels(acc, panels, q, sums, m, n, k, 0, split, 0, m, scratch)
				isa.TernaryMulPanels(acc, panels, q, sums, m, n, k, split, n, 0, m/2, scratch)
				isa.TernaryMulPanels(acc, panels, q, sums, m, n, k, split, n, m/2, m, scratch)
				if !slices.Equal(acc, want) {
					t.Fatalf("m %d, %dx%d differs", m, n, k)
				}
			}
		}
	})
}
