package asm

import (
	"fmt"
	"math"
	"testing"
)

func TestMulPacked(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		for i, s := range productShapes {
			for variant := range 4 {
				checkMulPacked(t, isa, s[0], s[1], s[2], variant&1 != 0, variant&2 != 0, i%2 == 0)
			}
		}
	})
}

func checkMulPacked(t *testing.T, isa ISA, m, n, k int, transB, accumulate, front bool) {
	t.Helper()
	a := operand(t, uint64(m*n+k), m, k, false, front)
	b := operand(t, uint64(m+n*k), k, n, transB, front)
	ldc := n + k%3
	start := randF32(40, (m-1)*ldc+n)
	c := guardedCopy(t, start, front)
	packed, edge := guarded[float32](t, PackedB(n, k), front), guarded[float32](t, SmallEdge, front)
	isa.PackB(packed, b, n, k)
	isa.MulPacked(c, ldc, a.Data, a.Ld, packed, m, n, k, accumulate, edge)
	what := fmt.Sprintf("%dx%dx%d, transposed %v, accumulate %v", m, n, k, transB, accumulate)
	for i, got := range c {
		row, col := i/ldc, i%ldc
		if col >= n {
			if got != start[i] {
				t.Fatalf("%s: wrote between rows", what)
			}
			continue
		}
		var exact, size float64
		if accumulate {
			exact, size = float64(start[i]), math.Abs(float64(start[i]))
		}
		for l := range k {
			p := float64(a.at(row, l)) * float64(b.at(l, col))
			exact, size = exact+p, size+math.Abs(p)
		}
		if math.Abs(float64(got)-exact) > 5e-6*size {
			t.Fatalf("%s: C[%d,%d] = %v, exactly %v", what, row, col, got, exact)
		}
	}
	// A row alone has the same bits.
	row := m / 2
	alone := guardedCopy(t, start[row*ldc:][:n], front)
	isa.MulPacked(alone, n, a.Data[row*a.Ld:], a.Ld, packed, 1, n, k, accumulate, edge)
	sameBits(t, what+": row alone", alone, c[row*ldc:][:n])
}
