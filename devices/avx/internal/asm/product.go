package asm

import "unsafe"

// Product is one SGEMM bound to its operands and to memory of the caller's, for
// products that are repeated: a loop of Pack over PackTasks, then one of Tile
// over TileTasks, compute what SGEMM.Mul does, bit for bit. Tasks of one loop
// may run at the same time.
type Product struct {
	g     SGEMM
	packs int
}

// ProductScratch is the number of floats of memory that a Product needs.
func ProductScratch(transA bool, m, n, k, threads int) int {
	pa, pb := productPanels(transA, m, n, k)
	return pa + pb + threads*workFloats
}

// workFloats is the size of a worker's scratch.
const workFloats = int(unsafe.Sizeof(sgemmWork{})) / 4

func productPanels(transA bool, m, n, k int) (pa, pb int) {
	if transA {
		pa = ceilDiv(ceilDiv(m, panelA)*panelA*k, 16) * 16
	}
	return pa, ceilDiv(n, sgemmN) * sgemmN * k
}

// NewProduct binds C = op(A)·op(B), or C += op(A)·op(B); see SGEMM.Mul. mem has
// ProductScratch floats and is overwritten by Pack and Tile.
func (isa ISA) NewProduct(c []float32, ldc int, a, b Mat, m, n, k int, accumulate bool, threads int, mem []float32) *Product {
	p := &Product{g: SGEMM{isa: isa, c: c, ldc: ldc, a: a, b: b, m: m, n: n, k: k, n1: n, accumulate: accumulate}}
	g := &p.g
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
	g.rowTasks, g.cols = ceilDiv(m, sgemmRows), sgemmCols
	for g.cols > 4*sgemmN && g.rowTasks*ceilDiv(n, g.cols) < 4*threads {
		g.cols /= 2
	}
	if isa == Generic || k == 0 {
		g.rowTasks = ceilDiv(m, 8)
		g.cols = n
		return p
	}
	mem = mem[:ProductScratch(a.Trans, m, n, k, threads)]
	pa, pb := productPanels(a.Trans, m, n, k)
	g.pa, g.pb = mem[:pa], mem[pa:pa+pb]
	if a.Trans {
		g.packATasks = ceilDiv(m, panelA)
	}
	// A worker's scratch holds floats only, so it may lie in the caller's memory.
	g.work = unsafe.Slice((*sgemmWork)(unsafe.Pointer(&mem[pa+pb])), threads)
	p.packs = ceilDiv(g.packATasks+ceilDiv(n, sgemmN), packsPerTask)
	return p
}

// packsPerTask panels are packed by one task, to keep tasks from being tiny.
const packsPerTask = 4

// PackTasks is the number of tasks of the first loop.
func (p *Product) PackTasks() int { return p.packs }

// Pack does one task of the first loop.
func (p *Product) Pack(task, worker int) {
	last := p.g.packATasks + ceilDiv(p.g.n, sgemmN)
	for i := task * packsPerTask; i < min(last, (task+1)*packsPerTask); i++ {
		p.g.packTask(i, worker)
	}
}

// TileTasks is the number of tasks of the second loop.
func (p *Product) TileTasks() int {
	if p.g.m == 0 || p.g.n == 0 {
		return 0
	}
	return p.g.rowTasks * ceilDiv(p.g.n, p.g.cols)
}

// Tile does one task of the second loop.
func (p *Product) Tile(task, worker int) {
	switch {
	case p.g.k == 0:
		if !p.g.accumulate {
			for i := task * 8; i < min(task*8+8, p.g.m); i++ {
				clear(p.g.c[i*p.g.ldc:][:p.g.n])
			}
		}
	case p.g.isa == Generic:
		p.g.generic(task, worker)
	default:
		p.g.tileTask(task, worker)
	}
}
