package asm

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

var dotShapes = [][2]int{ // rows, k
	{1, 1}, {1, 8}, {2, 7}, {3, 16}, {4, 9}, {5, 31}, {7, 64}, {8, 8}, {9, 33}, {12, 100}, {13, 128}, {19, 257}, {33, 640},
}

// dotCase runs one of the three float kernels with weights rounded to its type.
type dotCase struct {
	name  string
	round func(v float32) float32
	dot   func(t *testing.T, isa ISA, y []float32, ldy int, w []float32, ldw int, x []float32, ldx, rows, m, k int, front bool)
}

func half(narrow func(ISA, []uint16, []float32), dot func(ISA, []float32, int, []uint16, int, []float32, int, int, int, int)) func(*testing.T, ISA, []float32, int, []float32, int, []float32, int, int, int, int, bool) {
	return func(t *testing.T, isa ISA, y []float32, ldy int, w []float32, ldw int, x []float32, ldx, rows, m, k int, front bool) {
		h := guarded[uint16](t, len(w), front)
		narrow(Generic, h, w)
		dot(isa, y, ldy, h, ldw, x, ldx, rows, m, k)
	}
}

var dotCases = []dotCase{
	{"f32", func(v float32) float32 { return v },
		func(t *testing.T, isa ISA, y []float32, ldy int, w []float32, ldw int, x []float32, ldx, rows, m, k int, front bool) {
			isa.DotF32(y, ldy, guardedCopy(t, w, front), ldw, x, ldx, rows, m, k)
		}},
	{"bf16", func(v float32) float32 { return bf16ToF32(f32ToBF16(v)) }, half(ISA.F32ToBF16, ISA.DotBF16)},
	{"f16", func(v float32) float32 { return f16ToF32(f32ToF16(v)) }, half(ISA.F32ToF16, ISA.DotF16)},
}

func TestDotFloat(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		for _, c := range dotCases {
			for i, s := range dotShapes {
				for _, m := range []int{1, 2, 3, 4, 7, 9} {
					checkDotFloat(t, isa, c, s[0], m, s[1], i%2 == 0)
				}
			}
		}
	})
}

func checkDotFloat(t *testing.T, isa ISA, c dotCase, rows, m, k int, front bool) {
	t.Helper()
	ldw, ldx, ldy := k+rows%3, k+rows%2, rows+m%3
	w := randF32(uint64(rows*k), (rows-1)*ldw+k)
	x := guardedCopy(t, randF32(uint64(m*k+1), (m-1)*ldx+k), front)
	y := guardedCopy(t, fill[float32]((m-1)*ldy+rows, 77), front)
	c.dot(t, isa, y, ldy, w, ldw, x, ldx, rows, m, k, front)
	what := fmt.Sprintf("%s rows %d, m %d, k %d", c.name, rows, m, k)
	for i, got := range y {
		tok, r := i/ldy, i%ldy
		if r >= rows {
			if got != 77 {
				t.Fatalf("%s: wrote between rows", what)
			}
			continue
		}
		var exact, size float64
		for j := range k {
			p := float64(c.round(w[r*ldw+j])) * float64(x[tok*ldx+j])
			exact, size = exact+p, size+math.Abs(p)
		}
		if math.Abs(float64(got)-exact) > 1e-6*size {
			t.Fatalf("%s: y[%d,%d] = %v, exactly %v", what, tok, r, got, exact)
		}
	}
	// A token alone, and a row alone, have the bits they have in company.
	for tok := range m {
		alone := make([]float32, rows)
		c.dot(t, isa, alone, rows, w, ldw, x[tok*ldx:], ldx, rows, 1, k, front)
		sameBits(t, what+": token alone", alone, y[tok*ldy:][:rows])
		r := tok % rows
		c.dot(t, isa, alone[:1], 1, w[r*ldw:], ldw, x[tok*ldx:], ldx, 1, 1, k, front)
		sameBits(t, what+": row alone", alone[:1], y[tok*ldy+r:][:1])
	}
}

func TestDotI8(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(20)
		for i, s := range append(dotShapes, [2]int{9, 4100}) {
			for _, m := range []int{1, 2, 3, 5} {
				rows, k, front := s[0], s[1], i%2 == 0
				ldw, ldx, ldy := k+rows%3, k+rows%2, rows+m%3
				inputs := [][2][]int8{{randI8(r, (rows-1)*ldw+k), randI8(r, (m-1)*ldx+k)}}
				for _, v := range [][2]int8{{-128, -128}, {-128, 127}, {127, 127}} {
					inputs = append(inputs, [2][]int8{fill((rows-1)*ldw+k, v[0]), fill((m-1)*ldx+k, v[1])})
				}
				for _, in := range inputs {
					w, x := guardedCopy(t, in[0], front), guardedCopy(t, in[1], front)
					y := guardedCopy(t, fill[int32]((m-1)*ldy+rows, 77), front)
					isa.DotI8(y, ldy, w, ldw, x, ldx, rows, m, k)
					want := fill[int32](len(y), 77)
					for tok := range m {
						for row := range rows {
							var s int64
							for j := range k {
								s += int64(w[row*ldw+j]) * int64(x[tok*ldx+j])
							}
							want[tok*ldy+row] = int32(s)
						}
					}
					if !slices.Equal(y, want) {
						t.Fatalf("rows %d, m %d, k %d: got %v, want %v", rows, m, k, y, want)
					}
				}
			}
		}
	})
}

func TestAccum(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		if n == 0 {
			isa.AccumF32(nil, nil, nil, 0)
			return
		}
		for _, rows := range []int{0, 1, 2, 13} {
			ldv := n + rows%2
			p := guardedCopy(t, randF32(21, rows), front)
			v32 := randF32(22, max(rows-1, 0)*ldv+n)
			start := randF32(23, n)
			h := guarded[uint16](t, len(v32), front)
			for name, c := range map[string]struct {
				round func(float32) float32
				run   func(dst, p []float32, from int)
			}{
				"f32": {dotCases[0].round, func(dst, p []float32, from int) {
					isa.AccumF32(dst, p, guardedCopy(t, v32, front)[from*ldv:], ldv)
				}},
				"bf16": {dotCases[1].round, func(dst, p []float32, from int) {
					Generic.F32ToBF16(h, v32)
					isa.AccumBF16(dst, p, h[from*ldv:], ldv)
				}},
				"f16": {dotCases[2].round, func(dst, p []float32, from int) {
					Generic.F32ToF16(h, v32)
					isa.AccumF16(dst, p, h[from*ldv:], ldv)
				}},
			} {
				dst := guardedCopy(t, start, front)
				c.run(dst, p, 0)
				for i, got := range dst {
					exact := float64(start[i])
					size := math.Abs(exact)
					for j := range p {
						term := float64(p[j]) * float64(c.round(v32[j*ldv+i]))
						exact, size = exact+term, size+math.Abs(term)
					}
					if math.Abs(float64(got)-exact) > 1e-6*size {
						t.Fatalf("%s, %d rows of %d: element %d = %v, exactly %v", name, rows, n, i, got, exact)
					}
				}
				parts := guardedCopy(t, start, front)
				c.run(parts, p[:rows/2], 0)
				if rows > 0 {
					c.run(parts, p[rows/2:], rows/2)
				}
				sameBits(t, name+" in two parts", parts, dst)
			}
		}
	})
}

func TestDotAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		rows, m, k := 13, 4, 43
		w, h, x, y := make([]float32, rows*k), make([]uint16, rows*k), make([]float32, m*k), make([]float32, m*rows)
		w8, x8, y8 := make([]int8, rows*k), make([]int8, m*k), make([]int32, m*rows)
		if a := testing.AllocsPerRun(10, func() {
			isa.DotF32(y, rows, w, k, x, k, rows, m, k)
			isa.DotBF16(y, rows, h, k, x, k, rows, m, k)
			isa.DotF16(y, rows, h, k, x, k, rows, m, k)
			isa.DotI8(y8, rows, w8, k, x8, k, rows, m, k)
			isa.AccumF32(y[:k], x[:rows], w, k)
		}); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}

func TestDotEmpty(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		y, y8 := []float32{7, 7}, []int32{7, 7}
		isa.DotF32(y, 1, nil, 0, nil, 4, 0, 2, 4)
		isa.DotF32(y[:1], 1, nil, 0, nil, 0, 1, 1, 0)
		isa.DotBF16(y[1:], 1, nil, 0, nil, 0, 1, 1, 0)
		isa.DotI8(y8[:1], 1, nil, 0, nil, 0, 1, 1, 0)
		if y[0] != 0 || y[1] != 0 || y8[0] != 0 || y8[1] != 7 {
			t.Fatalf("sums of nothing: %v %v, want 0", y, y8)
		}
	})
}

func TestDotChecksShapes(t *testing.T) {
	for name, f := range map[string]func(){
		"w short": func() { AVX2.DotF32(make([]float32, 4), 4, make([]float32, 31), 8, make([]float32, 8), 8, 4, 1, 8) },
		"x short": func() { AVX2.DotF32(make([]float32, 8), 4, make([]float32, 32), 8, make([]float32, 15), 8, 4, 2, 8) },
		"y short": func() { AVX2.DotF32(make([]float32, 7), 4, make([]float32, 32), 8, make([]float32, 16), 8, 4, 2, 8) },
		"v short": func() { AVX2.AccumF32(make([]float32, 8), make([]float32, 2), make([]float32, 15), 8) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			f()
		})
	}
}
