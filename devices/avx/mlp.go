package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// mlpKernel is a whole feed-forward layer: for few tokens, it reads neither the rows
// of up where relu2(gate) is zero nor the columns of down that meet them.
func (u *unit) mlpKernel() devices.Kernel {
	return u.row(devices.Kernel{
		Name:    "fused.relu2_mlp." + string(rowsLayout),
		Op:      bitlinear.MLPOp.OpDef,
		Layouts: []graph.Layout{"", "", ternaryLayout, "", rowsLayout, "", "", colsLayout},
		InPlace: []graph.Update{{In: 9, Out: 0}},
		Order:   "lanes32", // of the norm; the rest is exact or element by element
		Accept: func(c *devices.Call) error {
			const most = 1 << 20
			n, k, out := c.In[4].Dims[0], c.In[4].Dims[1], c.In[7].Dims[0]
			if n > most || k > most || asm.PackedRowsBytes(n, k) >= 1<<31 || asm.PackedColsBytes(out, n) >= 1<<31 {
				return fmt.Errorf("it takes weights of less than 2 GiB and at most %d rows and columns, not %d and %d", most, n, k)
			}
			return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits)
		},
		Cost:  u.linearCost,
		Skips: true,
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newMLP(c, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			m := u.newMLP(c, bindScratch(c))
			m.in.q, m.in.scales = host.I8(c.In[0]), f32(c.In[1])
			for _, l := range []*linear{m.in, m.down.linear} {
				for i := range l.products {
					if err := l.products[i].find(l.k); err != nil {
						return nil, err
					}
				}
			}
			return host.Launch{Where: c.Where, Phases: append(m.phases(), m.down.phases()...), Unread: m.unread}, nil
		},
	})
}

// mlp is a bound call of fused.relu2_mlp.
type mlp struct {
	in   *linear // gate and up
	down *gluDown
	n    int // rows of gate and of up

	// For few tokens:
	tasks    []int              // where the rows of each task begin, and the last one ends
	x        []int8             // [S,whole lines]: the input, if it has no whole lines by itself
	batches  []asm.RowBatch     // by worker
	products [][]asm.RowProduct // by worker
	read     []int              // by task: rows of up that were read
}

const (
	// mlpRows is what the rows of a task are a multiple of: half of them are what the
	// product with rows of up asks for ahead.
	mlpRows = 128
	// mlpLeast is how many times as many a task has at least where there are enough
	// for all threads. A task loses about 2 µs where it changes from gate to up.
	mlpLeast = 3
	// mlpBatchRows is the most rows of a task of several tokens, which has them in the
	// L2 cache. The more there are, the more find a pair that the same tokens want.
	mlpBatchRows = 256
)

func (u *unit) newMLP(c *devices.Call, mem *scratch) *mlp {
	m := &mlp{down: u.newGLUDown(c, 7, mem), n: c.In[4].Dims[0]}
	s, k := first(c.In[0]), c.In[0].Last()
	m.down.gate, m.down.up = part[float32](mem, s*m.n), part[float32](mem, s*m.n)
	m.in = u.newLinear(s, k, []product{
		{w: c.In[2], gamma: f32(c.In[3]), y: m.down.gate, layout: ternaryLayout},
		{w: c.In[4], gamma: f32(c.In[5]), y: m.down.up, layout: rowsLayout},
	}, false, mem)
	if !m.in.few {
		return m
	}
	// Each task has gate rows in one stretch and then some of up, and asks for nothing
	// ahead where these begin.
	m.tasks = append(m.tasks, 0)
	least, most := mlpLeast, m.n
	if s > 1 {
		least, most = 1, mlpBatchRows
	}
	widest := 0
	for from, to := range guided(ceilDiv(m.n, mlpRows), least, u.threads) {
		from, to = from*mlpRows, min(m.n, to*mlpRows)
		for ; from < to; from = m.tasks[len(m.tasks)-1] {
			m.tasks = append(m.tasks, min(to, from+most))
			widest = max(widest, min(to-from, most))
		}
	}
	m.read = make([]int, len(m.tasks)-1)
	if k%asm.RowCols > 0 {
		m.x = part[int8](mem, s*ceilDiv(k, asm.RowCols)*asm.RowCols)
	}
	lists, sums := asm.RowBatchLen(widest)
	m.batches, m.products = make([]asm.RowBatch, u.threads), make([][]asm.RowProduct, u.threads)
	for i := range m.batches {
		m.batches[i] = asm.NewRowBatch(part[uint32](mem, lists), part[int32](mem, sums), widest)
		m.products[i] = make([]asm.RowProduct, s)
	}
	m.down.gated = true
	m.in.accs = parts[int32](mem, u.threads, s*widest)
	return m
}

func (m *mlp) phases() []host.Phase {
	if !m.in.few {
		return m.in.phases()
	}
	return []host.Phase{
		{Tasks: m.in.s, Run: m.prepare},
		{Tasks: len(m.read), Run: m.gateUp, Fetch: m.in.fetcher()},
	}
}

// prepare adds up a token's codes, and lays them out in whole lines.
func (m *mlp) prepare(t, _ int) {
	q := m.in.q[t*m.in.k : (t+1)*m.in.k]
	m.in.sums[t] = asm.SumI8(q)
	if m.x != nil {
		copy(m.x[t*ceilDiv(m.in.k, asm.RowCols)*asm.RowCols:], q)
	}
}

// gateUp computes some rows of gate, and of up those that are not multiplied by zero.
// The others are set to zero, which gives the same product unless they are not
// numbers: then all are computed.
func (m *mlp) gateUp(task, worker int) {
	l := m.in
	r0, r1 := m.tasks[task], m.tasks[task+1]
	n := r1 - r0
	g, up := &l.products[0], &l.products[1]
	acc := l.accs[worker][:l.s*n]
	next := up.packed[r0*asm.RowBytes(l.k) : r1*asm.RowBytes(l.k)]
	l.isa.TernaryGEMMAhead(acc, g.packed[asm.PackedBytes(r0, l.k):], l.q, l.sums, l.s, n, l.k, 0, n, 0, l.s, l.unpacked[worker], next)
	x, ld := l.q, l.k
	if m.x != nil {
		x, ld = m.x, ceilDiv(l.k, asm.RowCols)*asm.RowCols
	}
	ps := m.products[worker]
	for t := range ps {
		gate := m.down.gate[t*m.n+r0 : t*m.n+r1]
		l.isa.Rescale(gate, acc[t*n:(t+1)*n], g.gamma[0]/l.scales[t])
		ps[t] = asm.RowProduct{
			Up: m.down.up[t*m.n+r0 : t*m.n+r1], Gate: gate,
			Q: x[t*ld : (t+1)*ld], Sum: l.sums[t], Factor: up.gamma[0] / l.scales[t],
		}
	}
	m.read[task] = l.isa.TernaryRowsBatch(ps, up.packed, &m.batches[worker], r0, l.k)
	// Done here, where both are in a cache near by: half of what the next phase reads
	// comes from another core.
	for _, p := range ps {
		l.isa.Relu2Mul(p.Up, p.Gate, p.Up)
	}
}

// unread is the bytes of weights that no token of the last run needed. What several
// read counts as often.
func (m *mlp) unread() int {
	if !m.in.few {
		return 0
	}
	rows := m.n
	for _, n := range m.read {
		rows -= n
	}
	return max(0, rows*asm.RowBytes(m.in.k)) + m.down.unread()
}
