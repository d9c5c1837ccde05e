package avx

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/ternary"
)

// groupLinear is a bound product of weights with group scales.
type groupLinear struct {
	isa             asm.ISA
	m, k, n, groups int
	packed          bool // weights are ternaryLayout, otherwise codes
	weights         []byte
	codes, q        []int8
	s, gamma, y     []float32
	sums            []int32 // [m,groups]: Σ q of each group
	tiles, made     []tile
	unpacked        [][]byte    // by worker: the panels of a tile, of packed weights
	scales          [][]float32 // by worker: those of a tile's rows
	tileMemory      []asm.GroupScratch
}

// fewGroupTokens is up to where packed weights are read per token.
const fewGroupTokens = 4

func (u *unit) groupRow(w graph.Layout) devices.Kernel {
	packed, name := w == ternaryLayout, string(w)
	layouts, cost := []graph.Layout{"", "", w}, u.linearCost
	if !packed {
		layouts, name, cost = nil, "panels", u.panelsCost
	}
	return u.row(devices.Kernel{
		Name: "ternary.group_matmul." + name, Op: ternary.GroupMatMulOp.OpDef, Layouts: layouts, Order: "groups",
		Accept: func(c *devices.Call) error {
			if k, groups := c.In[0].Last(), c.In[3].Last(); !asm.GroupFits(k, groups) {
				return fmt.Errorf("groups of %d weights are not whole blocks of %d", k/max(groups, 1), asm.BlockCols)
			}
			return nil
		},
		Cost: func(c *devices.Call) float64 { return 1.5 * cost(c) },
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newGroupLinear(c, packed, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) { return u.bindGroupLinear(c, packed) },
	})
}

// newGroupLinear lays out a call: its tiles and its scratch.
func (u *unit) newGroupLinear(c *devices.Call, packed bool, mem *scratch) *groupLinear {
	l := &groupLinear{isa: u.isa, m: c.In[0].Rows(), k: c.In[0].Last(), n: c.In[2].Rows(), groups: c.In[3].Last(), packed: packed}
	rows := min(gemmTaskRows, ceilDiv(l.n, asm.PanelRows)*asm.PanelRows)
	blocks := max(ceilDiv(l.m, gemmTokens), 1)
	tokens := max(ceilDiv(ceilDiv(l.m, blocks), 12)*12, 1)
	l.sums = part[int32](mem, l.m*l.groups)
	l.scales = parts[float32](mem, u.threads, asm.GroupScalesLen(rows, l.groups))
	switch {
	case !packed:
		l.weights = part[byte](mem, asm.TernaryPanelsBytes(l.n, l.k))
		for r := 0; r < l.n; r += panelTaskRows {
			l.made = append(l.made, tile{r0: r, r1: min(r+panelTaskRows, l.n)})
		}
	case l.m > fewGroupTokens:
		l.unpacked = parts[byte](mem, u.threads, asm.TernaryPanelsBytes(rows, l.k))
	}
	for r := 0; r < l.n; r += rows {
		for t := 0; t < l.m; t += tokens {
			l.tiles = append(l.tiles, tile{r0: r, r1: min(r+rows, l.n), t0: t, t1: min(t+tokens, l.m)})
		}
	}
	return l
}

func (u *unit) bindGroupLinear(c *devices.Call, packed bool) (devices.Launch, error) {
	l := u.newGroupLinear(c, packed, bindScratch(c))
	l.q, l.s, l.gamma, l.y = host.I8(c.In[0]), f32(c.In[1]), f32(c.In[3]), f32(c.Out[0])
	if packed {
		l.weights = host.Bytes(c.In[2], asm.PackedBytes(l.n, l.k))
	} else {
		l.codes = host.I8(c.In[2])
	}
	if len(l.q) != l.m*l.k || len(l.y) != l.m*l.n || !packed && len(l.codes) != l.n*l.k || packed && l.weights == nil {
		return nil, errors.New("operands are not in host memory")
	}
	l.tileMemory = make([]asm.GroupScratch, u.threads)
	const sumRows = 32
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: ceilDiv(l.m, sumRows) + len(l.made), Run: func(task, _ int) {
			if sums := ceilDiv(l.m, sumRows); task >= sums {
				t := &l.made[task-sums]
				l.isa.TernaryPanels(l.weights, l.codes, l.n, l.k, t.r0, t.r1)
				return
			}
			size := l.k / l.groups
			for g := task * sumRows * l.groups; g < min(l.m, (task+1)*sumRows)*l.groups; g++ {
				l.sums[g] = asm.SumI8(l.q[g*size : (g+1)*size])
			}
		}},
		{Tasks: len(l.tiles), Run: l.run},
	}}, nil
}

// run computes one tile.
func (l *groupLinear) run(task, worker int) {
	t, scales, mem := &l.tiles[task], l.scales[worker], &l.tileMemory[worker]
	l.isa.GroupScales(scales, l.gamma, l.groups, t.r0, t.r1)
	if l.packed && l.m <= fewGroupTokens {
		for i := t.t0; i < t.t1; i++ {
			l.isa.TernaryGroupsGEMV(l.y[i*l.n:][:l.n], l.weights, l.q[i*l.k:][:l.k], l.sums[i*l.groups:], scales, l.s[i], l.n, l.k, l.groups, t.r0, t.r1, mem)
		}
		return
	}
	panels := l.weights
	if l.packed {
		panels = l.unpacked[worker]
		l.isa.UnpackPanels(panels, l.weights[asm.PackedBytes(t.r0, l.k):], t.r1-t.r0, l.k)
	} else {
		panels = panels[asm.TernaryPanelsBytes(t.r0, l.k):]
	}
	l.isa.TernaryMulGroups(l.y[t.t0*l.n+t.r0:], l.n, panels, l.q[t.t0*l.k:], l.sums[t.t0*l.groups:], scales, l.s[t.t0:], t.t1-t.t0, t.r1-t.r0, l.k, l.groups, mem)
}
