package neon

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// linearKernels are the products of int8 activations and packed ternary weights,
// bare and with their epilogues. Integers are exact and an epilogue works on one
// element, so every split into tasks gives the same bits.
func (u *unit) linearKernels() []devices.Kernel {
	w := ternaryLayout
	return []devices.Kernel{
		u.linearRow(ternary.MatMulOp.OpDef, []graph.Layout{"", w}, nil,
			func(c *devices.Call) []product {
				return []product{{w: c.In[1], acc: host.I32(c.Out[0])}}
			}),
		u.linearRow(bitlinear.IntLinearOp.OpDef, []graph.Layout{"", "", w}, nil, siblings),
		u.linearRow(bitlinear.LinearAddOp.OpDef, []graph.Layout{"", "", w}, []graph.Update{{In: 4, Out: 0}},
			func(c *devices.Call) []product {
				ps := siblings(c)
				ps[0].res = host.F32(c.In[4])
				return ps
			}),
		u.linearRow(bitlinear.IntLinear2Op.OpDef, []graph.Layout{"", "", w, "", w}, nil, siblings),
		u.linearRow(bitlinear.IntLinear3Op.OpDef, []graph.Layout{"", "", w, "", w, "", w}, nil, siblings),
	}
}

func siblings(c *devices.Call) []product {
	ps := make([]product, len(c.Out))
	for i := range ps {
		ps[i] = product{w: c.In[2+2*i], gamma: host.F32(c.In[3+2*i]), y: host.F32(c.Out[i])}
	}
	return ps
}

func (u *unit) linearRow(op *graph.OpDef, layouts []graph.Layout, inPlace []graph.Update, list func(*devices.Call) []product) devices.Kernel {
	return u.row(devices.Kernel{
		Name: op.Name + "." + string(ternaryLayout), Op: op, Layouts: layouts, InPlace: inPlace,
		Order: "int32", // sums are exact, the rest is element by element
		Cost:  u.linearCost,
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newLinear(c, list(c), s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) { return u.bindLinear(c, list(c)) },
	})
}

// linearCost is the larger of the time to read the weights and to multiply.
func (u *unit) linearCost(c *devices.Call) float64 {
	macs := map[asm.ISA]float64{asm.NEON: 20, asm.DotProd: 60}[u.isa] // a nanosecond
	m, weights := float64(c.In[0].Rows()), 0.0
	for _, o := range c.In {
		if o.Elem == graph.Tern {
			weights += float64(o.Len())
		}
	}
	return costCall + max(weights/4/rateBytes, m*weights/max(macs, 1))
}

// product is one matrix with its epilogue: accumulators as they are, or scaled
// by gamma over the row's scale, or with a residual added besides.
type product struct {
	w      devices.Operand
	packed []byte
	gamma  []float32 // one element
	res, y []float32 // [S,N]
	acc    []int32   // [S,N], instead of y
	n      int
}

// linear is a bound call.
type linear struct {
	isa      asm.ISA
	q        []int8    // [S,K]
	padded   []int8    // [S,PaddedCols(K)]; q itself if K is whole blocks
	scales   []float32 // [S]; nil for bare accumulators
	s, k, kp int
	products []product
	tiles    []tile
	init     []int32   // [S]: −Σ q of each row
	accs     [][]int32 // by worker: the accumulators of a tile
}

// tile is one task: rows [r0,r1) of a matrix by tokens [t0,t1).
type tile struct{ product, r0, r1, t0, t1 int }

const (
	taskBytes  = 32 << 10 // of packed weights in a task: they stay in the cache from one token to the next
	taskTokens = 64
)

// newLinear lays out a call: its tiles and its scratch.
func (u *unit) newLinear(c *devices.Call, ps []product, mem *scratch) *linear {
	l := &linear{isa: u.isa, s: c.In[0].Dims[0], k: c.In[0].Dims[1], products: ps}
	l.kp = asm.PaddedCols(l.k)
	widest := 0
	for i := range ps {
		ps[i].n = ps[i].w.Dims[0]
		widest = max(widest, asm.PaddedRows(ps[i].n))
	}
	panel := max(asm.PackedBytes(asm.PanelRows, l.k), 1)
	rows := min(max(1, taskBytes/panel)*asm.PanelRows, widest)
	l.init = part[int32](mem, l.s)
	if l.kp != l.k {
		l.padded = part[int8](mem, l.s*l.kp)
	}
	l.accs = parts[int32](mem, u.threads, rows*min(l.s, taskTokens))
	for i := range ps {
		for r := 0; r < ps[i].n; r += rows {
			for t := 0; t < l.s; t += taskTokens {
				l.tiles = append(l.tiles, tile{i, r, min(r+rows, ps[i].n), t, min(t+taskTokens, l.s)})
			}
		}
	}
	return l
}

func (u *unit) bindLinear(c *devices.Call, ps []product) (devices.Launch, error) {
	l := u.newLinear(c, ps, bindScratch(c))
	l.q = host.I8(c.In[0])
	if l.kp == l.k {
		l.padded = l.q
	}
	if len(c.In) > 2 {
		l.scales = host.F32(c.In[1])
	}
	for i := range ps {
		p := &ps[i]
		p.packed = host.Bytes(p.w, asm.PackedBytes(p.n, l.k))
		if p.packed == nil {
			return nil, fmt.Errorf("weights %d: %d packed bytes are not in host memory", i, asm.PackedBytes(p.n, l.k))
		}
	}
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: ceilDiv(l.s, taskTokens), Run: l.prepare},
		{Tasks: len(l.tiles), Run: l.run},
	}}, nil
}

// prepare pads and sums the activations of some tokens.
func (l *linear) prepare(task, _ int) {
	for t := task * taskTokens; t < min(l.s, (task+1)*taskTokens); t++ {
		q := l.q[t*l.k : (t+1)*l.k]
		l.init[t] = -asm.SumI8(q)
		if l.kp != l.k {
			asm.PadRow(l.padded[t*l.kp:(t+1)*l.kp], q)
		}
	}
}

// run computes one tile. Its rows are whole panels, the last one padded.
func (l *linear) run(task, worker int) {
	t := &l.tiles[task]
	p := &l.products[t.product]
	m, n, wide := t.t1-t.t0, t.r1-t.r0, asm.PaddedRows(t.r1-t.r0)
	acc := l.accs[worker][:m*wide]
	l.isa.Ternary(acc, p.packed[asm.PackedBytes(t.r0, l.k):], l.padded[t.t0*l.kp:t.t1*l.kp], l.init[t.t0:t.t1], m, wide/asm.PanelRows, l.k)
	for i := range m {
		row, at := acc[i*wide:i*wide+n], (t.t0+i)*p.n+t.r0
		if p.acc != nil {
			copy(p.acc[at:], row)
			continue
		}
		f := p.gamma[0] / l.scales[t.t0+i]
		if y := p.y[at : at+n]; p.res == nil {
			l.isa.Rescale(y, row, f)
		} else {
			l.isa.RescaleAdd(y, row, f, p.res[at:at+n])
		}
	}
}
