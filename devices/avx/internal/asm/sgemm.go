package asm

// Runner runs a parallel loop, as pool.Pool does: fn(task, worker) once for
// every task below tasks, worker below Threads().
type Runner interface {
	Run(tasks int, fn func(task, worker int)) error
	Threads() int
}

// Mat is an operand of SGEMM: element (i,j) of op(M) is Data[i*Ld+j], or
// Data[j*Ld+i] if Trans.
type Mat struct {
	Data  []float32
	Ld    int
	Trans bool
}

// check panics unless the matrix holds rows by cols elements.
func (a Mat) check(rows, cols int) {
	if a.Trans {
		rows, cols = cols, rows
	}
	if rows > 1 && a.Ld < cols || (rows-1)*a.Ld+cols > len(a.Data) {
		panic("asm: slice is too short for its shape")
	}
}

// at is element (i,j) of op(M).
func (a Mat) at(i, j int) float32 {
	if a.Trans {
		return a.Data[j*a.Ld+i]
	}
	return a.Data[i*a.Ld+j]
}

const (
	sgemmK    = 256 // depth of a block: a panel of B then takes a third of L1
	sgemmN    = 16  // columns in a panel of B
	sgemmRows = 48  // rows of C in a task, a multiple of every tile's rows
	sgemmCols = 256 // most columns of C in a task
	// copyLd is the row distance of a copied block of A: a cache line more than
	// its depth, so that rows fall on different lines.
	copyLd = sgemmK + 16
	// sgemmPack bounds the packed copy of B, in elements; wider products are
	// done in strips of columns.
	sgemmPack = 4 << 20
)

// SGEMM multiplies float32 matrices. It keeps the packed operands between
// calls, so it belongs to one goroutine at a time; the work of a call is spread
// over its Runner.
type SGEMM struct {
	isa  ISA
	run  Runner
	pa   []float32
	pb   []float32
	work []sgemmWork // per worker

	// The product in progress.
	c           []float32
	ldc         int
	a, b        Mat
	m, n, k     int
	n0, n1      int // the strip of columns
	accumulate  bool
	rowTasks    int
	cols        int // columns of C in a task
	packATasks  int
	pack, tiles func(task, worker int)
	rows        func(task, worker int)
}

// sgemmWork is a worker's scratch.
type sgemmWork struct {
	edge [12 * 2 * sgemmN]float32    // the largest tile, for one that sticks out of C
	a    [sgemmRows * copyLd]float32 // a block of A whose rows would collide in the cache
}

// NewSGEMM returns a multiplier that runs on r.
func NewSGEMM(isa ISA, r Runner) *SGEMM {
	g := &SGEMM{isa: isa, run: r, work: make([]sgemmWork, r.Threads())}
	g.pack, g.tiles, g.rows = g.packTask, g.tileTask, g.generic
	return g
}

// Mul computes C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set. C is
// [m,n] with row distance ldc, op(A) is [m,k] and op(B) is [k,n]; C overlaps
// neither.
//
// Each element is a chain of fused multiply-adds per block of 256 in k, the
// blocks added in order: its bits depend on its row of A, its column of B, k and
// the element before, not on m, n, the threads, or AVX2 against AVX512.
// (Generic rounds in float64 first; see DotF32.) The error is that of the
// Runner.
func (g *SGEMM) Mul(c []float32, ldc int, a, b Mat, m, n, k int, accumulate bool) error {
	if m < 0 || n < 0 || k < 0 || m > 1 && ldc < n {
		panic("asm: rows overlap or sizes are negative")
	}
	if m == 0 || n == 0 {
		return nil
	}
	if (m-1)*ldc+n > len(c) {
		panic("asm: slice is too short for its shape")
	}
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(c[i*ldc:][:n])
			}
		}
		return nil
	}
	a.check(m, k)
	b.check(k, n)
	g.c, g.ldc, g.a, g.b, g.m, g.n, g.k, g.accumulate = c, ldc, a, b, m, n, k, accumulate
	defer g.release()
	if g.isa == Generic {
		return g.run.Run(ceilDiv(m, 8), g.rows)
	}
	return g.mulPacked()
}

// release drops the operands, so that a multiplier does not keep them alive.
func (g *SGEMM) release() { g.c, g.a, g.b = nil, Mat{}, Mat{} }

// generic is the oracle for eight rows.
func (g *SGEMM) generic(task, _ int) {
	for i := task * 8; i < min(task*8+8, g.m); i++ {
		row := g.c[i*g.ldc:][:g.n]
		for j := range row {
			total := row[j]
			if !g.accumulate {
				total = 0
			}
			for k0 := 0; k0 < g.k; k0 += sgemmK {
				var s float32
				for l := k0; l < min(k0+sgemmK, g.k); l++ {
					s = float32(float64(g.a.at(i, l))*float64(g.b.at(l, j)) + float64(s))
				}
				total += s
			}
			row[j] = total
		}
	}
}
