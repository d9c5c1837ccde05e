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

var productShapes = [][3]int{ // m, n, k
	{1, 1, 1}, {1, 16, 8}, {6, 16, 4}, {5, 15, 3}, {7, 17, 9}, {12, 32, 16}, {13, 33, 257}, {48, 64, 5}, {49, 48, 31},
	{50, 47, 256}, {97, 290, 30}, {13, 35, 513}, {3, 600, 20}, {100, 20, 260},
}

func TestProduct(t *testing.T) {
	three := pool.New(3)
	defer three.Close()
	eachISA(t, func(t *testing.T, isa ISA) {
		for i, s := range productShapes {
			for variant := range 8 {
				checkProduct(t, isa, three, s[0], s[1], s[2], variant&1 != 0, variant&2 != 0, variant&4 != 0, i%2 == 0)
			}
		}
	})
}

// Every height and width of tile.
func TestProductTiles(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		for m := 1; m <= 13; m++ {
			for _, n := range []int{16, 32, 37} {
				checkProduct(t, isa, nil, m, n, 20, false, true, m%2 == 0, false)
			}
		}
	})
}

// Rows of A that collide in the cache are copied; that must not show.
func TestProductCollidingRows(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		const m, n, k, near = 61, 20, 512, 512
		b := operand(t, 1, k, n, false, false)
		a := Mat{randF32(2, m*k), near, false}
		far := Mat{make([]float32, m*(near+1)), near + 1, false}
		for i := range m {
			copy(far.Data[i*far.Ld:], a.Data[i*near:][:k])
		}
		got, want := make([]float32, m*n), make([]float32, m*n)
		multiply(t, isa, nil, got, n, a, b, m, n, k, false)
		multiply(t, isa, nil, want, n, far, b, m, n, k, false)
		sameBits(t, "colliding rows", got, want)
		if got[0] == 0 && got[1] == 0 {
			t.Fatal("nothing was computed")
		}
	})
}

// multiply runs a product on one goroutine, or on a pool if there is one.
func multiply(t testing.TB, isa ISA, p *pool.Pool, c []float32, ldc int, a, b Mat, m, n, k int, accumulate bool) {
	t.Helper()
	threads := 1
	if p != nil {
		threads = p.Threads()
	}
	mem := fill(ProductScratch(a.Trans, m, n, k, threads), float32(math.NaN()))
	g := isa.NewProduct(c, ldc, a, b, m, n, k, accumulate, threads, guardedCopy(t, mem, false))
	if p == nil {
		for i := range g.PackTasks() {
			g.Pack(i, 0)
		}
		for i := range g.TileTasks() {
			g.Tile(i, 0)
		}
		return
	}
	if err := errors.Join(p.Run(g.PackTasks(), g.Pack), p.Run(g.TileTasks(), g.Tile)); err != nil {
		t.Fatal(err)
	}
}

// operand returns a matrix in guarded memory with some room between rows.
func operand(t *testing.T, seed uint64, rows, cols int, trans, front bool) Mat {
	if trans {
		rows, cols = cols, rows
	}
	ld := cols + int(seed%3)
	return Mat{guardedCopy(t, randF32(seed, (rows-1)*ld+cols), front), ld, trans}
}

func checkProduct(t *testing.T, isa ISA, three *pool.Pool, m, n, k int, transA, transB, accumulate, front bool) {
	t.Helper()
	a := operand(t, uint64(m*n+k), m, k, transA, front)
	b := operand(t, uint64(m+n*k), k, n, transB, front)
	ldc := n + k%3
	start := randF32(30, (m-1)*ldc+n)
	c := guardedCopy(t, start, front)
	multiply(t, isa, nil, c, ldc, a, b, m, n, k, accumulate)
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
	same := func(isa ISA, p *pool.Pool, why string) {
		t.Helper()
		d := guardedCopy(t, start, front)
		multiply(t, isa, p, d, ldc, a, b, m, n, k, accumulate)
		sameBits(t, what+why, d, c)
	}
	same(isa, three, ": three threads")
	if isa == AVX512 {
		same(AVX2, nil, ": AVX2")
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
	multiply(t, isa, nil, d, n, alone, b, 1, n, k, accumulate)
	sameBits(t, what+": row alone", d, c[row*ldc:][:n])
}

func TestProductEdges(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		c := []float32{1, 2, 3, 4}
		multiply(t, isa, nil, c, 2, Mat{}, Mat{}, 2, 2, 0, true)
		sameBits(t, "k = 0, accumulate", c, []float32{1, 2, 3, 4})
		multiply(t, isa, nil, c, 2, Mat{}, Mat{}, 2, 2, 0, false)
		sameBits(t, "k = 0", c, []float32{0, 0, 0, 0})
		multiply(t, isa, nil, nil, 0, Mat{}, Mat{}, 0, 0, 5, false)
		defer func() {
			if recover() == nil {
				t.Fatal("no panic for a short operand")
			}
		}()
		multiply(t, isa, nil, c, 2, Mat{Data: make([]float32, 5), Ld: 3}, Mat{Data: make([]float32, 6), Ld: 2}, 2, 2, 3, false)
	})
}

func TestProductAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		x, c := Mat{randF32(1, 40*40), 40, true}, make([]float32, 40*40)
		g := isa.NewProduct(c, 40, x, x, 40, 40, 40, true, 1, make([]float32, ProductScratch(true, 40, 40, 40, 1)))
		if a := testing.AllocsPerRun(10, func() {
			for i := range g.PackTasks() {
				g.Pack(i, 0)
			}
			for i := range g.TileTasks() {
				g.Tile(i, 0)
			}
		}); a != 0 {
			t.Fatalf("%v allocations", a)
		}
	})
}

// BenchmarkProduct reports GFLOP/s and the share of fused multiply-adds on
// registers, interleaved. nt is activations times weights [n,k], nn a gradient
// to activations, tn a gradient to weights.
func BenchmarkProduct(b *testing.B) {
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
						benchProduct(b, isa, threads, c, x, y, m, n, k)
					})
				}
			}
		}
	}
}

func benchProduct(b *testing.B, isa ISA, threads int, c []float32, x, y Mat, m, n, k int) {
	p := pool.New(threads)
	defer p.Close()
	g := isa.NewProduct(c, n, x, y, m, n, k, false, threads, make([]float32, ProductScratch(x.Trans, m, n, k, threads)))
	packs, tiles := g.Pack, g.Tile
	fmas := m * n * k
	per := isa.PeakFMA(1)
	iters := fmas/per/threads/4 + 1
	peak := func(_, _ int) { isa.PeakFMA(iters) }
	var tMul, tPeak time.Duration
	for b.Loop() {
		start := time.Now()
		_ = p.Run(g.PackTasks(), packs)
		_ = p.Run(g.TileTasks(), tiles)
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
