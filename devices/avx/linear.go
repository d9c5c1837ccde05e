package avx

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// linearKernels are the products of int8 activations and ternary weights, bare
// and with their epilogues. Integers are exact and an epilogue works on one
// element, so every split into tasks gives the same bits. Weights are packed at
// load; those that change every step, in training, are plain and become panels
// in each call.
func (u *unit) linearKernels() []devices.Kernel {
	return append(u.linearRows(ternaryLayout), u.linearRows("")...)
}

func (u *unit) linearRows(w graph.Layout) []devices.Kernel {
	return []devices.Kernel{
		u.linearRow(ternary.MatMulOp.OpDef, []graph.Layout{"", w}, nil,
			func(c *devices.Call) []product {
				return []product{{w: c.In[1], acc: host.I32(c.Out[0])}}
			}),
		u.linearRow(bitlinear.IntLinearOp.OpDef, []graph.Layout{"", "", w}, nil,
			func(c *devices.Call) []product {
				return []product{{w: c.In[2], gamma: f32(c.In[3]), y: f32(c.Out[0])}}
			}),
		u.linearRow(bitlinear.LinearAddOp.OpDef, []graph.Layout{"", "", w}, []graph.Update{{In: 4, Out: 0}},
			func(c *devices.Call) []product {
				return []product{{w: c.In[2], gamma: f32(c.In[3]), res: f32(c.In[4]), y: f32(c.Out[0])}}
			}),
		u.linearRow(bitlinear.IntLinear2Op.OpDef, []graph.Layout{"", "", w, "", w}, nil, siblings),
		u.linearRow(bitlinear.IntLinear3Op.OpDef, []graph.Layout{"", "", w, "", w, "", w}, nil, siblings),
	}
}

func siblings(c *devices.Call) []product {
	ps := make([]product, len(c.Out))
	for i := range ps {
		ps[i] = product{w: c.In[2+2*i], gamma: f32(c.In[3+2*i]), y: f32(c.Out[i])}
	}
	return ps
}

func (u *unit) linearRow(op *graph.OpDef, layouts []graph.Layout, inPlace []graph.Update, list func(*devices.Call) []product) devices.Kernel {
	plain, name, cost := !slices.Contains(layouts, ternaryLayout), string(ternaryLayout), u.linearCost
	if plain {
		layouts, name, cost = nil, "panels", u.panelsCost
	}
	return u.row(devices.Kernel{
		Name: op.Name + "." + name, Op: op, Layouts: layouts, InPlace: inPlace,
		Order: "int32", // sums are exact, the rest is element by element
		Cost:  cost,
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newLinear(first(c.In[0]), c.In[0].Last(), list(c), plain, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) { return u.bindLinear(c, list(c), plain) },
	})
}

// panelsCost is linearCost and the making of panels.
func (u *unit) panelsCost(c *devices.Call) float64 {
	cost := u.linearCost(c) + costCall
	for _, o := range c.In {
		if o.Elem == graph.Tern {
			cost += 2 * float64(o.Len()) / rateBytes
		}
	}
	return cost
}

// linearCost is the larger of the time to read the weights and to multiply.
func (u *unit) linearCost(c *devices.Call) float64 {
	macs := map[asm.ISA]float64{asm.AVX2: 90, asm.AVXVNNI: 120, asm.AVX512: 180}[u.isa] // a nanosecond
	m, weights := float64(first(c.In[0])), 0.0
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
	codes  []int8    // [N,K], of which packed are the panels
	gamma  []float32 // one element
	res, y []float32 // [S,N]
	acc    []int32   // [S,N], instead of y
	n      int
	layout graph.Layout
}

// bytes is the size of the packed matrix of k columns.
func (p *product) bytes(k int) int {
	switch p.layout {
	case colsLayout:
		return asm.PackedColsBytes(p.n, k)
	case rowsLayout:
		return asm.PackedRowsBytes(p.n, k)
	}
	return asm.PackedBytes(p.n, k)
}

// find takes the packed matrix of k columns from its operand.
func (p *product) find(k int) error {
	if p.packed = host.Bytes(p.w, p.bytes(k)); p.packed == nil {
		return fmt.Errorf("weights%v: %d packed bytes are not in host memory", p.w.Dims, p.bytes(k))
	}
	return nil
}

// linear is a bound call.
type linear struct {
	isa      asm.ISA
	q        []int8    // [S,K]
	scales   []float32 // [S]; nil for bare accumulators
	s, k     int
	products []product
	plain    bool // weights are codes, of which each call makes panels
	few      bool // tokens, which read packed weights as they are
	tiles    []tile
	made     []tile    // the tasks that make panels: rows of a matrix
	sums     []int32   // [S]: Σ q of each row
	unpacked [][]byte  // by worker
	accs     [][]int32 // by worker: the accumulators of a tile
}

// tile is one task: rows [r0,r1) of a matrix by tokens [t0,t1).
type tile struct{ product, r0, r1, t0, t1 int }

const (
	gemvTaskBytes = 64 << 10 // of packed weights in a task of few tokens: microseconds
	gemvTaskLeast = 2        // times as many in a task of one token
	gemmTaskRows  = 64       // unpacked at a time
	gemmTokens    = 252      // most tokens in a tile: a multiple of the kernels' 6 and 12
	panelTaskRows = 128      // made into panels by one task
	fewTokens     = 16       // up to here the packed weights are read per token, if that is faster
)

// newLinear lays out products of s tokens and k columns: tiles and scratch.
func (u *unit) newLinear(s, k int, ps []product, plain bool, mem *scratch) *linear {
	l := &linear{isa: u.isa, s: s, k: k, products: ps, plain: plain}
	l.few = !plain && s <= min(fewTokens, u.isa.GEMVTokens())
	tokens := max(l.s, 1)
	rows := gemmTaskRows
	if l.few {
		panel := max(asm.PackedBytes(asm.PanelRows, l.k), 1)
		rows = max(1, gemvTaskBytes/panel) * asm.PanelRows
	} else {
		blocks := ceilDiv(l.s, gemmTokens)
		tokens = min(l.s, ceilDiv(ceilDiv(l.s, blocks), 12)*12)
	}
	widest := 0
	for i := range ps {
		ps[i].n = ps[i].w.Dims[0]
		widest = max(widest, ps[i].n)
	}
	rows = min(rows, ceilDiv(widest, asm.PanelRows)*asm.PanelRows)
	l.sums = part[int32](mem, l.s)
	if !l.few {
		l.unpacked = parts[byte](mem, u.threads, max(asm.TernaryRowsScratch(l.k), asm.TernaryColsScratch(l.k)))
	} else {
		l.unpacked = make([][]byte, u.threads)
	}
	for i := range ps {
		if plain {
			ps[i].packed = part[byte](mem, asm.TernaryPanelsBytes(ps[i].n, l.k))
			for r := 0; r < ps[i].n; r += panelTaskRows {
				l.made = append(l.made, tile{product: i, r0: r, r1: min(r+panelTaskRows, ps[i].n)})
			}
		}
		if l.few && l.s == 1 {
			continue
		}
		for r := 0; r < ps[i].n; r += rows {
			for t := 0; t < l.s; t += tokens {
				l.tiles = append(l.tiles, tile{i, r, min(r+rows, ps[i].n), t, min(t+tokens, l.s)})
			}
		}
	}
	if l.few && l.s == 1 {
		l.tiles = tokenTiles(ps, rows, u.threads)
	}
	most := 0
	for _, t := range l.tiles {
		most = max(most, (t.r1-t.r0)*tokens)
	}
	l.accs = parts[int32](mem, u.threads, most)
	return l
}

// tokenTiles are the tasks of a single token, of whole units of rows.
func tokenTiles(ps []product, rows, threads int) (tiles []tile) {
	units := 0
	for i := range ps {
		units += ceilDiv(ps[i].n, rows)
	}
	i, r := 0, 0
	for from, to := range guided(units, gemvTaskLeast, threads) {
		for from < to {
			for r == ps[i].n {
				i, r = i+1, 0
			}
			n := min(to-from, ceilDiv(ps[i].n-r, rows))
			end := min(ps[i].n, r+n*rows)
			tiles = append(tiles, tile{i, r, end, 0, 1})
			from, r = from+n, end
		}
	}
	return tiles
}

func (u *unit) bindLinear(c *devices.Call, ps []product, plain bool) (devices.Launch, error) {
	l := u.newLinear(first(c.In[0]), c.In[0].Last(), ps, plain, bindScratch(c))
	l.q = host.I8(c.In[0])
	if len(c.In) > 2 {
		l.scales = f32(c.In[1])
	}
	for i := range ps {
		p := &ps[i]
		if plain {
			if p.codes = host.I8(p.w); len(p.codes) != p.n*l.k {
				return nil, fmt.Errorf("weights %d: %d codes are not in host memory", i, p.n*l.k)
			}
			continue
		}
		if err := p.find(l.k); err != nil {
			return nil, err
		}
	}
	return host.Launch{Where: c.Where, Phases: l.phases()}, nil
}

func (l *linear) phases() []host.Phase {
	const sumRows = 64
	return []host.Phase{
		{Tasks: ceilDiv(l.s, sumRows) + len(l.made), Run: func(task, _ int) {
			if sums := ceilDiv(l.s, sumRows); task >= sums {
				t := &l.made[task-sums]
				p := &l.products[t.product]
				l.isa.TernaryPanels(p.packed, p.codes, p.n, l.k, t.r0, t.r1)
				return
			}
			for t := task * sumRows; t < min(l.s, (task+1)*sumRows); t++ {
				l.sums[t] = asm.SumI8(l.q[t*l.k : (t+1)*l.k])
			}
		}},
		{Tasks: len(l.tiles), Run: l.run, Fetch: l.fetcher()},
	}
}

const (
	fetchPiece = 1 << 10   // bytes that a waiting thread asks for at a time
	fetchMost  = 512 << 10 // bytes in all: half of the L2 cache of a core
)

// fetcher asks for the weights that the first tiles of a call for few tokens read;
// nil for more, which multiply longer than they read.
func (l *linear) fetcher() func(piece int) bool {
	if !l.few {
		return nil
	}
	return func(piece int) bool {
		at := piece * fetchPiece
		if at >= fetchMost {
			return false
		}
		for i := range l.products {
			w := l.products[i].packed
			if at < len(w) {
				l.isa.Prefetch(w[at:min(len(w), at+fetchPiece)])
				return true
			}
			at -= len(w)
		}
		return false
	}
}

// run computes one tile. The rows of a tile are whole panels, so with panels they
// are a packed matrix of their own.
func (l *linear) run(task, worker int) {
	t := &l.tiles[task]
	p := &l.products[t.product]
	m, n := t.t1-t.t0, t.r1-t.r0
	acc, q, sums := l.accs[worker][:m*n], l.q[t.t0*l.k:t.t1*l.k], l.sums[t.t0:t.t1]
	if l.plain {
		l.isa.TernaryMulPanels(acc, p.packed[asm.TernaryPanelsBytes(t.r0, l.k):], q, sums, m, n, l.k, 0, n, 0, m, l.unpacked[worker])
	} else if p.layout == rowsLayout {
		l.isa.TernaryRowsGEMM(acc, p.packed, q, sums, m, p.n, l.k, t.r0, t.r1, l.unpacked[worker])
	} else if p.layout == colsLayout {
		l.isa.TernaryColsGEMM(acc, p.packed, q, sums, m, p.n, l.k, t.r0, t.r1, l.unpacked[worker])
	} else {
		packed := p.packed[asm.PackedBytes(t.r0, l.k):]
		l.isa.TernaryGEMM(acc, packed, q, sums, m, n, l.k, 0, n, 0, m, l.unpacked[worker])
	}
	for i := range m {
		row, at := acc[i*n:(i+1)*n], (t.t0+i)*p.n+t.r0
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
