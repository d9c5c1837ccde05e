package asm

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var colShapes = [][2]int{ // n, k
	{1, 1}, {3, 5}, {16, 16}, {63, 17}, {64, 4}, {65, 33}, {255, 31}, {256, 64}, {257, 100}, {300, 259},
	{512, 127}, {700, 130}, {1100, 47}, {130, 1300},
}

// sparse makes the share of codes zero.
func sparse(q []int8, share float64, seed uint64) []int8 {
	r, out := newRand(seed), slices.Clone(q)
	for i := range out {
		if r.Float64() < share {
			out[i] = 0
		}
	}
	return out
}

func TestPackTernaryColsRoundTrip(t *testing.T) {
	r := newRand(1)
	for _, s := range colShapes {
		n, k := s[0], s[1]
		codes := randCodes(r, n*k)
		packed := fill[byte](PackedColsBytes(n, k), 0xff)
		PackTernaryCols(packed, codes, n, k, 0, n)
		back := make([]int8, n*k)
		UnpackTernaryCols(back, packed, n, k)
		if !slices.Equal(codes, back) {
			t.Fatalf("%dx%d: round trip differs", n, k)
		}
		parts := fill[byte](PackedColsBytes(n, k), 0xff)
		for r0 := 0; r0 < n; r0 += ColRows {
			r1 := min(r0+ColRows, n)
			PackTernaryCols(parts, codes[r0*k:r1*k], n, k, r0, r1)
		}
		if diff := cmp.Diff(packed, parts); diff != "" {
			t.Fatalf("%dx%d: packing in parts differs:\n%s", n, k, diff)
		}
	}
}

// A change of layout must be deliberate: caches and other code may rely on it.
func TestPackTernaryColsLayout(t *testing.T) {
	n, k := 310, 3
	codes := fill(n*k, int8(-1)) // u = 0
	codes[0*k+1] = 1             // u = 2: row 0, column 1: byte 0, bits 0,1
	codes[(64+16*2+4*3+1)*k+0] = 0
	codes[(256+16*3+2)*k+2] = 1
	packed := make([]byte, PackedColsBytes(n, k))
	PackTernaryCols(packed, codes, n, k, 0, n)
	want := make([]byte, 16*128)
	want[128] = 2
	want[16*3+4*1+1] = 1 << 4
	want[2*128+64+2] = 2 << 6
	if diff := cmp.Diff(want, packed); diff != "" {
		t.Fatal(diff)
	}
}

func TestColumnsSet(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		for _, k := range []int{1, 3, 15, 16, 17, 64, 257} {
			for _, share := range []float64{0, 0.65, 1} {
				q := guardedCopy(t, sparse(randI8(newRand(3), k), share, 4), k%2 == 0)
				c := NewColumns(make([]uint32, ColumnsLen(k)), guarded[int8](t, ColumnsLen(k), false))
				const first, n = 7, 300
				c.Set(isa, q, first, n)
				count := 0
				for i, v := range q {
					if v == 0 {
						continue
					}
					if c.offs[count] != uint32((first+i)*ColBytes(n)) || c.codes[count] != v {
						t.Fatalf("k %d, share %g: entry %d is %d at %d", k, share, count, c.codes[count], c.offs[count])
					}
					count++
				}
				if c.Len() != (count+3)/4*4 {
					t.Fatalf("k %d, share %g: %d columns, want %d", k, share, c.Len(), count)
				}
				for _, v := range c.codes[count:c.n] {
					if v != 0 {
						t.Fatal("a filling code is not zero")
					}
				}
				for _, o := range c.offs[:c.n+colsAhead] {
					if int(o) >= (first+k)*ColBytes(n) {
						t.Fatalf("offset %d leaves the matrix", o)
					}
				}
			}
		}
	})
}

func TestTernaryColsGEMV(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(2)
		for i, s := range colShapes {
			for _, share := range []float64{0, 0.65, 0.97, 1} {
				n, k := s[0], s[1]
				checkColsGEMV(t, isa, randCodes(r, n*k), sparse(randI8(r, k), share, 9), n, k, i%2 == 0)
			}
		}
		for _, h := range hostile {
			n, k := 33, 4119
			checkColsGEMV(t, isa, fill(n*k, h.code), fill(k, h.q), n, k, false)
		}
		n, k := 5, 2*lineCols+11 // more than a call of the kernel adds up
		checkColsGEMV(t, isa, fill(n*k, int8(1)), fill(k, int8(-128)), n, k, false)
	})
}

func checkColsGEMV(t *testing.T, isa ISA, codes, q []int8, n, k int, front bool) {
	t.Helper()
	packed := guarded[byte](t, PackedColsBytes(n, k), front)
	PackTernaryCols(packed, codes, n, k, 0, n)
	want := naive(codes, q, n, k)
	cols := NewColumns(make([]uint32, ColumnsLen(k)), make([]int8, ColumnsLen(k)))
	for _, step := range []int{ColRows, 2 * ColRows, n/ColRows*ColRows + ColRows} {
		for r0 := 0; r0 < n; r0 += step {
			r1 := min(r0+step, n)
			acc := fill((r1-r0+ColRows-1)/ColRows*ColRows, int32(-77))
			total := make([]int32, r1-r0)
			half := k / 2 // in two parts, whose sums add
			for _, part := range [][2]int{{0, half}, {half, k}} {
				p := q[part[0]:part[1]]
				cols.Set(isa, p, part[0], n)
				isa.TernaryColsGEMV(guardedCopy(t, acc, front), packed, &cols, SumI8(p), n, r0, r1)
				isa.TernaryColsGEMV(acc, packed, &cols, SumI8(p), n, r0, r1)
				if step == ColRows {
					line := guardedCopy(t, fill(ColRows, int32(5)), front)
					isa.TernaryColsAdd(line, packed, &cols, SumI8(p), n, r0, packed[len(packed)/3:])
					for i := range line {
						line[i] -= 5
					}
					if !slices.Equal(line[:r1-r0], acc[:r1-r0]) {
						t.Fatalf("%dx%d line from row %d differs", n, k, r0)
					}
				}
				for i := range total {
					total[i] += acc[i]
				}
			}
			if !slices.Equal(total, want[r0:r1]) {
				t.Fatalf("%dx%d rows [%d,%d) differ", n, k, r0, r1)
			}
		}
	}
}

func TestTernaryColsGEMM(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(3)
		for i, s := range colShapes {
			for _, m := range []int{1, 3, 12, 13, 25} {
				n, k := s[0], s[1]
				checkColsGEMM(t, isa, randCodes(r, n*k), sparse(randI8(r, m*k), 0.3, 5), m, n, k, i%2 == 0)
			}
		}
		for _, h := range hostile {
			m, n, k := 5, 47, 4119
			checkColsGEMM(t, isa, fill(n*k, h.code), fill(m*k, h.q), m, n, k, false)
		}
	})
}

func checkColsGEMM(t *testing.T, isa ISA, codes, q []int8, m, n, k int, front bool) {
	t.Helper()
	packed := guarded[byte](t, PackedColsBytes(n, k), front)
	PackTernaryCols(packed, codes, n, k, 0, n)
	gq := guardedCopy(t, q, front)
	scratch := guarded[byte](t, TernaryColsScratch(k), front)
	sums, want := make([]int32, m), make([][]int32, m)
	for i := range m {
		sums[i] = SumI8(q[i*k : (i+1)*k])
		want[i] = naive(codes, q[i*k:(i+1)*k], n, k)
	}
	for _, step := range []int{64, 192, (n + 63) / 64 * 64} {
		for r0 := 0; r0 < n; r0 += step {
			r1 := min(r0+step, n)
			acc := guarded[int32](t, m*(r1-r0), front)
			isa.TernaryColsGEMM(acc, packed, gq, sums, m, n, k, r0, r1, scratch)
			for i := range m {
				if !slices.Equal(acc[i*(r1-r0):][:r1-r0], want[i][r0:r1]) {
					t.Fatalf("m %d, %dx%d, token %d, rows [%d,%d) differ", m, n, k, i, r0, r1)
				}
			}
		}
	}
}

func TestTernaryColsAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		m, n, k := 14, 300, 100
		packed, q, sums := make([]byte, PackedColsBytes(n, k)), fill(m*k, int8(3)), make([]int32, m)
		acc, scratch := make([]int32, m*512), make([]byte, TernaryColsScratch(k))
		cols := NewColumns(make([]uint32, ColumnsLen(k)), make([]int8, ColumnsLen(k)))
		if a := testing.AllocsPerRun(10, func() {
			cols.Set(isa, q[:k], 0, n)
			isa.TernaryColsGEMV(acc, packed, &cols, 0, n, 0, n)
			isa.TernaryColsGEMM(acc[:m*n], packed, q, sums, m, n, k, 0, n, scratch)
		}); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}
