package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// wideStep is the elements of the inner dimension of a stage of
// kernels/wgmma_sm90.cu.
const wideStep = 128

// wideTile is one tile of kernels/wgmma_sm90.cu.
type wideTile struct {
	tokens, rows, stages int
	// step and store are nanoseconds of a block on an H100: to multiply a stage,
	// and for all else of a tile.
	step, store float64
}

var wgmmaTiles = []wideTile{
	{tokens: 128, rows: 256, stages: 4, step: 980, store: 4500},
	{tokens: 128, rows: 160, stages: 6, step: 650, store: 4000},
	{tokens: 64, rows: 128, stages: 8, step: 440, store: 3400},
}

func (t wideTile) name() string { return fmt.Sprintf("wgmma_%dx%d", t.tokens, t.rows) }

func (t wideTile) threads() int { return 128 + 2*t.tokens }

func (t wideTile) shared() int {
	return t.stages*(t.tokens+t.rows)*wideStep + 1024 + 256 // to align stages, and barriers
}

// wideGrid is how a call's tiles are shared among blocks: splits blocks have a
// part of the inner dimension of one tile each.
type wideGrid struct{ tiles, splits, blocks int }

// grid finds the cheapest number of splits for m tokens, inner dimension k and so
// many tiles of rows of weights, and the time in nanoseconds.
func (d *Device) grid(t wideTile, m, k, cols int) (best wideGrid, cost float64) {
	const (
		maxSplits = 16
		joinCost  = 1000  // nanoseconds of a block that shares a tile
		eachSum   = 0.068 // to write one and add it
	)
	steps, tiles := ceilDiv(k, wideStep), ceilDiv(m, t.tokens)*cols
	for n := 1; n <= min(maxSplits, steps); n++ {
		each := ceilDiv(steps, n)
		if n > 1 && (ceilDiv(steps, each) != n || tiles >= d.info.Multiprocessors) {
			continue // a block would have nothing to do, or all are busy anyway (see ticketsOf)
		}
		one := float64(each)*t.step + t.store
		if n > 1 {
			one += joinCost + float64(n*t.tokens*t.rows)*eachSum
		}
		if x := float64(ceilDiv(tiles*n, d.info.Multiprocessors)) * one; best.tiles == 0 || x < cost {
			best, cost = wideGrid{tiles, n, min(tiles*n, d.info.Multiprocessors)}, x
		}
	}
	return best, cost
}

// scratch is the bytes for sums of parts of tiles.
func (g wideGrid) scratch(t wideTile) int {
	if g.splits == 1 {
		return 0
	}
	return g.tiles * g.splits * t.tokens * t.rows * graph.I32.Size()
}

// ticketsOf returns zeros, one for each multiprocessor, for all launches with this
// scratch memory: as they share it they run one after the other, and each leaves
// zeros. New ones for every launch would add up, with a plan for each length of a
// prompt.
func (d *Device) ticketsOf(scratch devices.Buffer) (devices.Operand, error) {
	d.tickets.Lock()
	o, ok := d.tickets.of[scratch]
	d.tickets.Unlock()
	if ok {
		return o, nil
	}
	o, err := d.newTickets(d.info.Multiprocessors)
	if err == nil {
		d.tickets.Lock()
		defer d.tickets.Unlock()
		if d.tickets.of == nil {
			d.tickets.of = map[devices.Buffer]devices.Operand{}
		}
		d.tickets.of[scratch] = o
	}
	return o, err
}

// bindWide binds a kernel with arguments for the grid behind its own.
func (d *Device) bindWide(fn string, t wideTile, g wideGrid, scratch devices.Operand, args []any) (devices.Launch, error) {
	args = append(args, int32(g.splits))
	if g.splits == 1 {
		args = append(args, int64(0), int64(0))
	} else {
		tickets, err := d.ticketsOf(scratch.Buf)
		if err != nil {
			return nil, err
		}
		scratch.Elem, scratch.Dims = graph.U8, []int{g.scratch(t)}
		args = append(args, scratch, tickets)
	}
	return d.bindEarly(fn+"_"+t.name(), shape{blocks: g.blocks, threads: t.threads(), shared: t.shared()}, args...)
}

// wideFits checks a call whose weights take so many tiles of rows.
func (d *Device) wideFits(t wideTile, c *devices.Call, cols int) error {
	if c.In[0].Last() == 0 {
		return errors.New("rows are empty")
	}
	if n := ceilDiv(c.In[0].Rows(), t.tokens) * cols; n > 1<<26 {
		return fmt.Errorf("%d tiles are too many", n)
	}
	return d.gemmFits(c, t.shared())
}

// cols is the tiles of rows of the call's weights.
func (t wideTile) cols(f gemmForm, c *devices.Call) int {
	n := 0
	for _, out := range f.outs(c) {
		n += ceilDiv(out, t.rows)
	}
	return n
}

// wideKernel is a product on warpgroup instructions.
func (d *Device) wideKernel(f gemmForm, t wideTile) devices.Kernel {
	grid := func(c *devices.Call) (wideGrid, float64) {
		return d.grid(t, c.In[0].Rows(), c.In[0].Last(), t.cols(f, c))
	}
	return devices.Kernel{
		Name: f.op.Name + ".i2x64." + t.name(), Op: f.op, Needs: []devices.Feature{"sm_80", sm90a}, Layouts: f.packedWeights(), Order: orderScaled,
		Accept: func(c *devices.Call) error { return d.wideFits(t, c, t.cols(f, c)) },
		Cost: func(c *devices.Call) float64 {
			_, compute := grid(c)
			return max(launchCost+compute, d.memoryCost(c))
		},
		Scratch: func(c *devices.Call) int {
			g, _ := grid(c)
			return g.scratch(t)
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			args, err := f.args(c)
			if err != nil {
				return nil, err
			}
			g, _ := grid(c)
			return d.bindWide("ternary", t, g, c.Scratch, args)
		},
	}
}

// wideGated is fused.norm_glu as codes and a product whose tiles have rows of both
// gate and up.
type wideGated struct {
	gated
	tile wideTile
}

// wideGatedKernels lists them, for weights at these operands.
func (d *Device) wideGatedKernels(weights ...int) []devices.Kernel {
	var rows []devices.Kernel
	for _, t := range wgmmaTiles {
		g := wideGated{gated{d: d, weights: weights}, t}
		rows = append(rows, devices.Kernel{
			Name: bitlinear.NormGLUOp.Name + ".i2x64." + t.name(), Op: bitlinear.NormGLUOp.OpDef, Needs: []devices.Feature{"sm_80", sm90a},
			Layouts: packed(weights...), Order: orderNormed,
			Accept: g.accept, Cost: g.cost, Scratch: g.scratch, Bind: g.bind,
		})
	}
	return rows
}

func (g wideGated) cols(c *devices.Call) int { return ceilDiv(c.Out[0].Dims[1], g.tile.rows/2) }

func (g wideGated) grid(c *devices.Call) (wideGrid, float64) {
	return g.d.grid(g.tile, c.In[0].Dims[0], c.In[0].Dims[1], g.cols(c))
}

func (g wideGated) accept(c *devices.Call) error {
	return errors.Join(rowsFit(c.In[0]), g.d.wideFits(g.tile, c, g.cols(c)))
}

func (g wideGated) cost(c *devices.Call) float64 {
	_, compute := g.grid(c)
	return g.d.memoryCost(g.quant(c)) + max(launchCost+compute, g.d.memoryCost(c))
}

func (g wideGated) scratch(c *devices.Call) int {
	grid, _ := g.grid(c)
	return g.parts(c) + grid.scratch(g.tile)
}

// parts is where sums of parts of tiles lie in scratch memory, behind the codes.
func (g wideGated) parts(c *devices.Call) int {
	_, _, n := g.codes(c)
	return (n + devices.Align - 1) / devices.Align * devices.Align
}

func (g wideGated) bind(c *devices.Call) (devices.Launch, error) {
	return g.bindCodes(c, func(q, s devices.Operand) (devices.Launch, error) {
		grid, _ := g.grid(c)
		scratch := c.Scratch
		scratch.Off += g.parts(c)
		return g.d.bindWide("glu", g.tile, grid, scratch, []any{q, s, c.In[2], c.In[3], c.In[4], c.In[5], c.Out[0],
			int32(q.Rows()), int32(c.Out[0].Dims[1]), int32(q.Last())})
	})
}
