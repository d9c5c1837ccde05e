package asm

import "unsafe"

// Mat is an operand of a Product: element (i,j) of op(M) is Data[i*Ld+j], or
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
	depthK   = 256 // depth of a block: a panel of B then takes a third of L1
	panelB   = 16  // columns in a packed panel of B
	panelA   = 12  // rows in a packed panel of a transposed A, a multiple of every tile's rows
	taskRows = 48  // rows of C in a task, a multiple of every tile's rows
	taskCols = 256 // most columns of C in a task
	// copyLd is the row distance of a copied block of A: a cache line more than
	// its depth, so that rows fall on different lines.
	copyLd = depthK + 16
	// packsPerTask panels are packed by one task, to keep tasks from being tiny.
	packsPerTask = 4
)

// Product is a float32 matrix product bound to its operands and to memory of the
// caller's. To compute it, run a loop of Pack over PackTasks, then a loop of Tile
// over TileTasks; tasks of one loop may run at the same time, each with a worker
// number below threads that no other running task has. It may be run again when
// the operands have changed.
//
// Each element of C is a chain of fused multiply-adds per block of 256 in k, the
// blocks added in order: its bits depend on its row of A, its column of B, k and
// the element before, not on m, n, the threads, or AVX2 against AVX512.
// (Generic rounds in float64 first; see DotF32.)
type Product struct {
	isa        ISA
	c          []float32
	ldc        int
	a, b       Mat
	m, n, k    int
	accumulate bool

	pa, pb   []float32     // packed panels
	work     []productWork // per worker
	panelsA  int
	panelsB  int
	rowTasks int
	cols     int // columns of C in a task
}

// productWork is a worker's scratch. It holds floats only, so it may lie in the
// caller's memory.
type productWork struct {
	edge [12 * 2 * panelB]float32   // the largest tile, for one that sticks out of C
	a    [taskRows * copyLd]float32 // a block of A whose rows would collide in the cache
}

const workFloats = int(unsafe.Sizeof(productWork{})) / 4

// ProductScratch is the number of floats of memory that a Product needs.
func ProductScratch(transA bool, m, n, k, threads int) int {
	pa, pb := packedFloats(transA, m, n, k)
	return pa + pb + threads*workFloats
}

// packedFloats is the size of the packed operands.
func packedFloats(transA bool, m, n, k int) (pa, pb int) {
	if transA {
		pa = ceilDiv(ceilDiv(m, panelA)*panelA*k, 16) * 16
	}
	return pa, ceilDiv(n, panelB) * panelB * k
}

// NewProduct binds C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set. C
// is [m,n] with row distance ldc, op(A) is [m,k] and op(B) is [k,n]; C overlaps
// neither. mem has ProductScratch floats and is overwritten by Pack and Tile.
func (isa ISA) NewProduct(c []float32, ldc int, a, b Mat, m, n, k int, accumulate bool, threads int, mem []float32) *Product {
	if m < 0 || n < 0 || k < 0 || m > 1 && ldc < n {
		panic("asm: rows overlap or sizes are negative")
	}
	p := &Product{isa: isa, c: c, ldc: ldc, a: a, b: b, m: m, n: n, k: k, accumulate: accumulate}
	if m == 0 || n == 0 {
		return p
	}
	if (m-1)*ldc+n > len(c) {
		panic("asm: slice is too short for its shape")
	}
	if k > 0 {
		a.check(m, k)
		b.check(k, n)
	}
	if isa == Generic || k == 0 {
		p.rowTasks, p.cols = ceilDiv(m, genericRows), n
		return p
	}
	// Columns are split for the threads' sake only where rows do not suffice,
	// because a task copies its rows of A.
	p.rowTasks, p.cols = ceilDiv(m, taskRows), taskCols
	for p.cols > 4*panelB && p.rowTasks*ceilDiv(n, p.cols) < 4*threads {
		p.cols /= 2
	}
	mem = mem[:ProductScratch(a.Trans, m, n, k, threads)]
	pa, pb := packedFloats(a.Trans, m, n, k)
	p.pa, p.pb = mem[:pa], mem[pa:pa+pb]
	p.work = unsafe.Slice((*productWork)(unsafe.Pointer(&mem[pa+pb])), threads)
	p.panelsB = ceilDiv(n, panelB)
	if a.Trans {
		p.panelsA = ceilDiv(m, panelA)
	}
	return p
}

// PackTasks is the number of tasks of the first loop.
func (p *Product) PackTasks() int { return ceilDiv(p.panelsA+p.panelsB, packsPerTask) }

// Pack does one task of the first loop.
func (p *Product) Pack(task, _ int) {
	for i := task * packsPerTask; i < min(p.panelsA+p.panelsB, (task+1)*packsPerTask); i++ {
		p.packPanel(i)
	}
}

// TileTasks is the number of tasks of the second loop.
func (p *Product) TileTasks() int {
	if p.m == 0 || p.n == 0 {
		return 0
	}
	return p.rowTasks * ceilDiv(p.n, p.cols)
}

// Tile does one task of the second loop.
func (p *Product) Tile(task, worker int) {
	if p.isa == Generic || p.k == 0 {
		p.generic(task)
		return
	}
	p.tileTask(task, worker)
}

// genericRows is the rows of C in a task of the oracle.
const genericRows = 8

// generic is the oracle.
func (p *Product) generic(task int) {
	for i := task * genericRows; i < min((task+1)*genericRows, p.m); i++ {
		row := p.c[i*p.ldc:][:p.n]
		for j := range row {
			total := row[j]
			if !p.accumulate {
				total = 0
			}
			for k0 := 0; k0 < p.k; k0 += depthK {
				var s float32
				for l := k0; l < min(k0+depthK, p.k); l++ {
					s = float32(float64(p.a.at(i, l))*float64(p.b.at(l, j)) + float64(s))
				}
				total += s
			}
			row[j] = total
		}
	}
}
