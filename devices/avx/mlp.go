package avx

import (
	"fmt"
	"math"

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
	tasks []int      // where the rows of each task of a token begin, and the last one ends
	x     []int8     // [S,whole lines]: the input, if it has no whole lines by itself
	lists [][]uint32 // by worker
	read  []int      // by task: rows of up that were read
}

// mlpRows is the least rows of a task: half of them are what the product with rows
// of up asks for ahead.
const mlpRows = 128

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
	// Long tasks first: each has gate rows in one stretch and then some of up, and
	// asks for nothing ahead where these begin. Short ones last, to end together.
	m.tasks = append(m.tasks, 0)
	size, widest := 0, 0
	for r := 0; r < m.n; {
		size = max(1, (m.n-r)/mlpRows/(2*u.threads)) * mlpRows
		widest = max(widest, size)
		r = min(m.n, r+size)
		m.tasks = append(m.tasks, r)
	}
	m.read = make([]int, s*(len(m.tasks)-1))
	if k%asm.RowCols > 0 {
		m.x = part[int8](mem, s*ceilDiv(k, asm.RowCols)*asm.RowCols)
	}
	m.lists = parts[uint32](mem, u.threads, asm.RowListLen(widest))
	m.in.accs = parts[int32](mem, u.threads, widest)
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
	// Tokens follow each other through the same rows, which are in a cache then.
	t, part := task%l.s, task/l.s
	r0, r1 := m.tasks[part], m.tasks[part+1]
	g, up := &l.products[0], &l.products[1]
	q, sum, acc := l.q[t*l.k:(t+1)*l.k], l.sums[t], l.accs[worker]
	gate, ups := m.down.gate[t*m.n+r0:t*m.n+r1], m.down.up[t*m.n+r0:t*m.n+r1]
	l.isa.TernaryGEMV(acc[:r1-r0], g.packed[asm.PackedBytes(r0, l.k):], q, sum, r1-r0, l.k, 0, r1-r0)
	l.isa.Rescale(gate, acc[:r1-r0], g.gamma[0]/l.scales[t])

	f := up.gamma[0] / l.scales[t]
	list := asm.NewRowList(m.lists[worker])
	if most := float64(f) * 128 * float64(l.k); !(math.Abs(most) < math.MaxFloat32) {
		list.SetAll(r1-r0, r0, l.k)
	} else {
		list.SetUnless(gate, r0, l.k)
	}
	if m.x != nil {
		lines := ceilDiv(l.k, asm.RowCols) * asm.RowCols
		q = m.x[t*lines : (t+1)*lines]
	}
	l.isa.TernaryRowsGEMV(acc, up.packed, &list, q, sum, l.k)
	m.read[task] = list.Len()
	clear(ups)
	for i, v := range acc[:list.Len()] {
		ups[list.Row(i, l.k)-r0] = float32(v) * f
	}
}

// unread is the bytes of weights that no token of the last run needed. Tokens are
// taken one after the other, so what several need counts as often.
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
