package asm

import (
	"math"
	"slices"
	"testing"
)

var rowShapes = [][2]int{ // n, k
	{1, 1}, {3, 5}, {16, 16}, {17, 63}, {33, 65}, {64, 255}, {65, 256}, {100, 257}, {259, 300},
	{40, 512}, {31, 1100}, {130, 1300}, {16, 2560},
}

func TestPackTernaryByRowRoundTrip(t *testing.T) {
	r := newRand(1)
	for _, s := range rowShapes {
		n, k := s[0], s[1]
		codes := randCodes(r, n*k)
		packed := fill[byte](PackedRowsBytes(n, k), 0xff)
		PackTernaryByRow(packed, codes, n, k, 0, n)
		back := make([]int8, n*k)
		UnpackTernaryByRow(back, packed, n, k)
		if !slices.Equal(codes, back) {
			t.Fatalf("%dx%d: round trip differs", n, k)
		}
		parts := fill[byte](PackedRowsBytes(n, k), 0xff)
		for r0 := 0; r0 < n; r0 += PanelRows {
			r1 := min(r0+PanelRows, n)
			PackTernaryByRow(parts, codes[r0*k:r1*k], n, k, r0, r1)
		}
		if !slices.Equal(packed, parts) {
			t.Fatalf("%dx%d: packing in parts differs", n, k)
		}
	}
}

// A change of layout must be deliberate: caches and other code may rely on it.
func TestPackTernaryByRowLayout(t *testing.T) {
	n, k := 3, 300
	codes := fill(n*k, int8(-1)) // u = 0
	codes[1*k+2] = 1             // u = 2: row 1, byte 2, bits 0,1
	codes[1*k+64*3+5] = 0
	codes[2*k+256+9] = 1
	packed := make([]byte, PackedRowsBytes(n, k))
	PackTernaryByRow(packed, codes, n, k, 0, n)
	want := make([]byte, 16*128)
	want[128+2] = 2
	want[128+5] = 1 << 6
	want[2*128+64+9] = 2
	if !slices.Equal(want, packed) {
		t.Fatal("bytes moved")
	}
}

func TestTernaryRowsGEMV(t *testing.T) {
	nan := float32(math.NaN())
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(2)
		check := func(codes, q []int8, n, k int, front bool, in func(i int) float32) {
			t.Helper()
			packed := guarded[byte](t, PackedRowsBytes(n, k), front)
			PackTernaryByRow(packed, codes, n, k, 0, n)
			want, x := naive(codes, q, n, k), make([]float32, n)
			var rows []int
			for i := range x {
				if x[i] = in(i); !(x[i] <= 0) {
					rows = append(rows, i)
				}
			}
			padded := guardedCopy(t, append(slices.Clone(q), randI8(r, ceilDiv(k, RowCols)*RowCols-k)...), front)
			list := NewRowList(make([]uint32, RowListLen(n)))
			for _, first := range []int{0, n / 2} {
				list.SetUnless(x[first:], first, k)
				part := rows[:0:0]
				for _, i := range rows {
					if i >= first {
						part = append(part, i)
					}
				}
				if list.Len() != len(part) {
					t.Fatalf("%dx%d: %d rows are listed, want %d", n, k, list.Len(), len(part))
				}
				acc := guarded[int32](t, ceilDiv(len(part), rowsGroup)*rowsGroup, front)
				isa.TernaryRowsGEMV(acc, packed, &list, padded, SumI8(q), k)
				for i, row := range part {
					if list.Row(i) != row || acc[i] != want[row] {
						t.Fatalf("%dx%d: entry %d is row %d, %d, want row %d, %d", n, k, i, list.Row(i), acc[i], row, want[row])
					}
				}
			}
		}
		for i, s := range rowShapes {
			for _, share := range []float64{0, 0.5, 0.97, 1} {
				n, k := s[0], s[1]
				check(randCodes(r, n*k), randI8(r, k), n, k, i%2 == 0, func(int) float32 {
					if r.Float64() < share {
						return -r.Float32()
					}
					return []float32{r.Float32() + 0x1p-30, nan}[r.IntN(2)]
				})
			}
		}
		for _, h := range hostile {
			n, k := 9, 4119
			check(fill(n*k, h.code), fill(k, h.q), n, k, false, func(int) float32 { return 1 })
		}
	})
}

func TestTernaryRowsGEMM(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(3)
		check := func(codes, q []int8, m, n, k int, front bool) {
			t.Helper()
			packed := guarded[byte](t, PackedRowsBytes(n, k), front)
			PackTernaryByRow(packed, codes, n, k, 0, n)
			gq, scratch := guardedCopy(t, q, front), guarded[byte](t, TernaryRowsScratch(k), front)
			sums, want := make([]int32, m), make([][]int32, m)
			for i := range m {
				sums[i] = SumI8(q[i*k : (i+1)*k])
				want[i] = naive(codes, q[i*k:(i+1)*k], n, k)
			}
			for _, step := range []int{16, 48, (n + 15) / 16 * 16} {
				for r0 := 0; r0 < n; r0 += step {
					r1 := min(r0+step, n)
					acc := guarded[int32](t, m*(r1-r0), front)
					isa.TernaryRowsGEMM(acc, packed, gq, sums, m, n, k, r0, r1, scratch)
					for i := range m {
						if !slices.Equal(acc[i*(r1-r0):][:r1-r0], want[i][r0:r1]) {
							t.Fatalf("m %d, %dx%d, token %d, rows [%d,%d) differ", m, n, k, i, r0, r1)
						}
					}
				}
			}
		}
		for i, s := range rowShapes {
			for _, m := range []int{1, 3, 12, 13} {
				n, k := s[0], s[1]
				check(randCodes(r, n*k), randI8(r, m*k), m, n, k, i%2 == 0)
			}
		}
		for _, h := range hostile {
			m, n, k := 5, 47, 4119
			check(fill(n*k, h.code), fill(m*k, h.q), m, n, k, false)
		}
	})
}

func TestTernaryRowsAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		m, n, k := 14, 48, 256
		packed, q, sums := make([]byte, PackedRowsBytes(n, k)), fill(m*k, int8(3)), make([]int32, m)
		acc, scratch, x := make([]int32, m*n), make([]byte, TernaryRowsScratch(k)), fill(n, float32(1))
		list := NewRowList(make([]uint32, RowListLen(n)))
		if a := testing.AllocsPerRun(10, func() {
			list.SetUnless(x, 0, k)
			isa.TernaryRowsGEMV(acc, packed, &list, q, 0, k)
			isa.TernaryRowsGEMM(acc, packed, q, sums, m, n, k, 0, n, scratch)
		}); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}
