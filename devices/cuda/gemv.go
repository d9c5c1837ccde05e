package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// Extents of kernels/gemv_sm90.cu.
const (
	gemvPieces = 40
	gemvMaxK   = 8192
	// Shared memory of a block: two fit on a multiprocessor beside one of attention, and
	// not three, so that its threads multiply while the next kernel's weights come, and no
	// block has to share with another of its own kernel.
	gemvLeast, gemvMost = 77 << 10, 112 << 10
)

// gemvForm is a kernel of gemv_sm90.cu: threads that multiply, and how many times four
// elements of the input each has, if it normalises them.
type gemvForm struct{ threads, held int }

var (
	gemvNormForms  = []gemvForm{{320, 2}, {448, 4}, {512, 4}}
	gemvGateForms  = []gemvForm{{448, 2}, {512, 4}}
	gemvCodesForms = []gemvForm{{320, 8}, {448, 8}, {480, 8}}
)

// gemv is a call: one token.
type gemv struct {
	gemvForm
	product
	rows, more, step, steps int // as the kernels' Cut has them
}

// gemvOf chooses among the forms of a call: the one whose threads multiply least.
func (d *Device) gemvOf(c *devices.Call, forms []gemvForm, weights []int, gate bool) (gemv, error) {
	g := gemv{product: product{m: c.In[0].Dims[0], k: c.In[0].Dims[1], parts: 1}}
	switch {
	case g.m != 1:
		return g, fmt.Errorf("%d tokens are not one", g.m)
	case g.k%64 != 0 || g.k > gemvMaxK:
		return g, fmt.Errorf("rows of %d are not whole units of 64, or longer than %d", g.k, gemvMaxK)
	}
	total := 0
	for _, i := range weights {
		n := c.In[i].Dims[0]
		g.n = append(g.n, n)
		total += n
		g.reached += n * units(g.k) * unitBytes
	}
	if gate {
		total, g.parts = g.n[0], 2
	}
	var best gemv
	for _, f := range forms {
		if x, ok := g.in(f, total, d.info.Multiprocessors); ok && (best.blocks == 0 || x.work() < best.work()) {
			best = x
		}
	}
	if best.blocks == 0 {
		return g, errors.New("a row does not fit in shared memory")
	}
	return best, nil
}

// in lays out a call in a form, with as few blocks for each multiprocessor as have room
// for all rows.
func (g gemv) in(f gemvForm, total, processors int) (laid gemv, ok bool) {
	padded := g.padded()
	if 4*f.threads*f.held < padded*64 {
		return g, false
	}
	g.gemvForm, g.step = f, f.threads/padded
	for g.blocks = min(total, processors); ; g.blocks += processors {
		rows := ceilDiv(total, g.blocks)
		g.rows, g.more, g.steps = total/g.blocks, total%g.blocks, ceilDiv(rows, g.step)
		pieces := g.steps * g.parts
		need := pieces*g.step*units(g.k)*unitBytes + 4*(padded*unitBytes+32) + 4*pieces*g.step*(padded/4|1)
		if need <= gemvMost && pieces <= gemvPieces && rows <= f.threads {
			g.shared = max(need, gemvLeast)
			return g, true
		}
		if rows == 1 {
			return g, false
		}
	}
}

// padded is a row's units in whole quads.
func (g gemv) padded() int { return (units(g.k) + 3) &^ 3 }

// work is what a block's threads take part in, in units.
func (g gemv) work() int { return g.steps * g.parts * g.threads }

// gemvCost is of measurements on an H100: 1.5 microseconds and more for small matrices,
// and the speed of a copy for large ones; a norm costs half a microsecond.
func (d *Device) gemvCost(g gemv, norm bool) float64 {
	cost := 1.1*launchCost + float64(g.reached)/d.info.Bandwidth*1e9
	if norm {
		cost += 400
	}
	return cost
}

// cut is the arguments that say how blocks share a product.
func (g gemv) cut() []any {
	inverse := math.MaxUint32/uint32(g.padded()) + 1
	return []any{int32(g.rows), int32(g.more), int32(g.step), int32(g.steps), int32(inverse)}
}

func (g gemv) shape() shape {
	return shape{blocks: g.blocks, threads: g.threads + 32, shared: g.shared}
}

// gemvKernels are products of one token: with its codes, or with the norm before them.
func (d *Device) gemvKernels() []devices.Kernel {
	var rows []devices.Kernel
	add := func(op *graph.OpDef, order string, forms []gemvForm, res int, bind func(c *devices.Call, g gemv) (devices.Launch, error), weights ...int) {
		gate, norm := op == bitlinear.NormGLUOp.OpDef, order == orderNormed
		k := devices.Kernel{
			Name: op.Name + ".i2x64.gemv", Op: op, Needs: []devices.Feature{"sm_80", sm90a}, Layouts: packed(weights...), Order: order,
			Accept: func(c *devices.Call) error { _, err := d.gemvOf(c, forms, weights, gate); return err },
			Cost: func(c *devices.Call) float64 {
				g, _ := d.gemvOf(c, forms, weights, gate) // Accept has said that there is one
				return d.gemvCost(g, norm)
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				if err := wantPacked(c, weights); err != nil {
					return nil, err
				}
				g, err := d.gemvOf(c, forms, weights, gate)
				if err != nil {
					return nil, err
				}
				return bind(c, g)
			},
		}
		if res > 0 {
			k.InPlace = []graph.Update{{In: res, Out: 0}}
		}
		rows = append(rows, k)
	}
	codes := func(op *graph.OpDef, res int, weights ...int) {
		add(op, orderScaled, gemvCodesForms, res, func(c *devices.Call, g gemv) (devices.Launch, error) {
			return d.bindEarly(fmt.Sprintf("gemv_codes_%d", g.threads), g.shape(),
				slices.Concat([]any{c.In[0], c.In[1]}, linearArgs(c, g.product, weights, res), g.cut())...)
		}, weights...)
	}
	// A row's length is divided by before the kernel is there.
	norm := func(c *devices.Call, g gemv) []any {
		a := c.Attrs.(bitlinear.NormQuantAttrs)
		per := 1 / float64(g.k)
		high := float32(per)
		return append(g.cut(), high, float32(per-float64(high)), float32(a.Eps), ops.QuantAttrs{Bits: a.Bits}.QMax())
	}
	normed := func(op *graph.OpDef, res int, weights ...int) {
		add(op, orderNormed, gemvNormForms, res, func(c *devices.Call, g gemv) (devices.Launch, error) {
			return d.bindEarly(fmt.Sprintf("gemv_norm_%d_%d", g.threads, g.held), g.shape(),
				slices.Concat([]any{c.In[0], c.In[1]}, linearArgs(c, g.product, weights, res), norm(c, g))...)
		}, weights...)
	}
	codes(bitlinear.IntLinearOp.OpDef, 0, 2)
	codes(bitlinear.IntLinear2Op.OpDef, 0, 2, 4)
	codes(bitlinear.IntLinear3Op.OpDef, 0, 2, 4, 6)
	codes(bitlinear.LinearAddOp.OpDef, 4, 2)
	normed(bitlinear.NormLinear3Op.OpDef, 0, 2, 4, 6)
	normed(bitlinear.NormLinearAddOp.OpDef, 4, 2)
	add(bitlinear.NormGLUOp.OpDef, orderNormed, gemvGateForms, 0, func(c *devices.Call, g gemv) (devices.Launch, error) {
		return d.bindEarly(fmt.Sprintf("gemv_gate_%d_%d", g.threads, g.held), g.shape(), slices.Concat(
			[]any{c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5], c.Out[0], int32(g.n[0]), int32(g.k)}, norm(c, g))...)
	}, 2, 4)
	return rows
}
