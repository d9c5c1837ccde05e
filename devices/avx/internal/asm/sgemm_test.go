package asm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/pool"
)

var sgemmShapes = [][3]int{ // m, n, k
	{1, 1, 1}, {1, 16, 8}, {6, 16, 4}, {5, 15, 3}, {7, 17, 9}, {12, 32, 16}, {13, 33, 257}, {48, 64, 5}, {49, 48, 31},
	{100, 47, 256}, {97, 300, 100}, {25, 280, 513}, {3, 600, 20}, {130, 20, 300},
}

func TestSGEMM(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		p1, p3 := pool.New(1), pool.New(3)
		defer p1.Close()
		defer p3.Close()
		one, three := NewSGEMM(isa, p1), NewSGEMM(isa, p3)
		for i, s := range sgemmShapes {
			for variant := range 8 {
				checkSGEMM(t, one, three, s[0], s[1], s[2], variant&1 != 0, variant&2 != 0, variant&4 != 0, i%2 == 0)
			}
		}
	})
}

// operand returns a matrix in guarded memory with some room between rows.
func operand(t *testing.T, seed uint64, rows, cols int, trans, front bool) Mat {
	if trans {
		rows, cols = cols, rows
	}
	ld := cols + int(seed%3)
	return Mat{guardedCopy(t, randF32(seed, (rows-1)*ld+cols), front), ld, trans}
}

func checkSGEMM(t *testing.T, one, three *SGEMM, m, n, k int, transA, transB, accumulate, front bool) {
	t.Helper()
	a := operand(t, uint64(m*n+k), m, k, transA, front)
	b := operand(t, uint64(m+n*k), k, n, transB, front)
	ldc := n + k%3
	start := randF32(30, (m-1)*ldc+n)
	c := guardedCopy(t, start, front)
	if err := one.Mul(c, ldc, a, b, m, n, k, accumulate); err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%dx%dx%d, transposed %v %v, accumulate %v", m, n, k, transA, transB, accumulate)
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
		if math.Abs(float64(got)-exact) > 2e-6*size {
			t.Fatalf("%s: C[%d,%d] = %v, exactly %v", what, row, col, got, exact)
		}
	}
	same := func(g *SGEMM, why string) {
		t.Helper()
		d := guardedCopy(t, start, front)
		if err := g.Mul(d, ldc, a, b, m, n, k, accumulate); err != nil {
			t.Fatal(err)
		}
		sameBits(t, what+why, d, c)
	}
	same(three, ": three threads")
	if one.isa == AVX512 {
		same(NewSGEMM(AVX2, one.run), ": AVX2")
	}
	// A row computed alone has the same bits.
	row := m / 2
	alone := a
	if transA {
		alone.Data = a.Data[row:]
	} else {
		alone.Data = a.Data[row*a.Ld:]
	}
	d := slices.Clone(start[row*ldc:][:n])
	if err := one.Mul(d, n, alone, b, 1, n, k, accumulate); err != nil {
		t.Fatal(err)
	}
	sameBits(t, what+": row alone", d, c[row*ldc:][:n])
}

// A product wider than the packed copy of B may be goes in strips.
func TestSGEMMStrips(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		m, n, k := 2, 1100, 4096
		p := pool.New(1)
		defer p.Close()
		g := NewSGEMM(isa, p)
		a, b := Mat{randF32(1, k*m), m, true}, Mat{randF32(2, n*k), k, true}
		c := make([]float32, m*n)
		if err := g.Mul(c, n, a, b, m, n, k, false); err != nil {
			t.Fatal(err)
		}
		for j := 0; j < n; j += 93 {
			col := make([]float32, m)
			if err := g.Mul(col, 1, a, Mat{b.Data[j*k:], k, true}, m, 1, k, false); err != nil {
				t.Fatal(err)
			}
			sameBits(t, "column", col, []float32{c[j], c[n+j]})
		}
	})
}

func TestSGEMMEdges(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		p := pool.New(1)
		defer p.Close()
		g := NewSGEMM(isa, p)
		c := []float32{1, 2, 3, 4}
		if err := g.Mul(c, 2, Mat{}, Mat{}, 2, 2, 0, true); err != nil || !slices.Equal(c, []float32{1, 2, 3, 4}) {
			t.Fatalf("k = 0, accumulate: %v, %v", c, err)
		}
		if err := g.Mul(c, 2, Mat{}, Mat{}, 2, 2, 0, false); err != nil || !slices.Equal(c, []float32{0, 0, 0, 0}) {
			t.Fatalf("k = 0: %v, %v", c, err)
		}
		if err := g.Mul(nil, 0, Mat{}, Mat{}, 0, 0, 5, false); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if recover() == nil {
				t.Fatal("no panic for a short operand")
			}
		}()
		_ = g.Mul(c, 2, Mat{Data: make([]float32, 5), Ld: 3}, Mat{Data: make([]float32, 6), Ld: 2}, 2, 2, 3, false)
	})
}

type failingRunner struct{}

var errRunner = errors.New("runner failed")

func (failingRunner) Run(int, func(task, worker int)) error { return errRunner }
func (failingRunner) Threads() int                          { return 1 }

func TestSGEMMReturnsRunnerError(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		x := Mat{Data: make([]float32, 4), Ld: 2}
		if err := NewSGEMM(isa, failingRunner{}).Mul(make([]float32, 4), 2, x, x, 2, 2, 2, false); !errors.Is(err, errRunner) {
			t.Fatalf("error %v", err)
		}
	})
}

func TestSGEMMAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		p := pool.New(2)
		defer p.Close()
		g := NewSGEMM(isa, p)
		x, c := Mat{randF32(1, 40*40), 40, true}, make([]float32, 40*40)
		if a := testing.AllocsPerRun(10, func() { _ = g.Mul(c, 40, x, x, 40, 40, 40, true) }); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}

// BenchmarkSGEMM reports GFLOP/s and the share of fused multiply-adds on
// registers, interleaved. nt is activations times weights [n,k], nn a gradient
// to activations, tn a gradient to weights.
func BenchmarkSGEMM(b *testing.B) {
	for _, s := range [][3]int{{1024, 1024, 1024}, {1024, 256, 256}, {1024, 512, 512}, {1024, 768, 256}, {512, 512, 1024}} {
		m, n, k := s[0], s[1], s[2]
		for _, mode := range []string{"nn", "nt", "tn"} {
			x := Mat{randF32(1, m*k), k, false}
			y := Mat{randF32(2, k*n), n, false}
			if mode == "nt" {
				y.Ld, y.Trans = k, true
			}
			if mode == "tn" {
				x.Ld, x.Trans = m, true
			}
			c := make([]float32, m*n)
			for _, isa := range Available(cpu.Hardware())[1:] {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%dx%dx%d/%s/%s/threads=%d", m, n, k, mode, isa, threads), func(b *testing.B) {
						benchSGEMM(b, isa, threads, c, x, y, m, n, k)
					})
				}
			}
		}
	}
}

func benchSGEMM(b *testing.B, isa ISA, threads int, c []float32, x, y Mat, m, n, k int) {
	p := pool.New(threads)
	defer p.Close()
	g := NewSGEMM(isa, p)
	fmas := m * n * k
	per := isa.PeakFMA(1)
	iters := fmas/per/threads/4 + 1
	peak := func(_, _ int) { isa.PeakFMA(iters) }
	var tMul, tPeak time.Duration
	for b.Loop() {
		start := time.Now()
		_ = g.Mul(c, n, x, y, m, n, k, false)
		mid := time.Now()
		_ = p.Run(threads, peak)
		tMul += mid.Sub(start)
		tPeak += time.Since(mid)
	}
	rate := float64(b.N) * float64(fmas) / tMul.Seconds()
	top := float64(b.N) * float64(iters*per*threads) / tPeak.Seconds()
	b.ReportMetric(2*rate/1e9, "GFLOP/s")
	b.ReportMetric(100*rate/top, "%ofpeak")
	b.ReportMetric(2*top/1e9, "peak-GFLOP/s")
	b.ReportMetric(0, "ns/op")
}
