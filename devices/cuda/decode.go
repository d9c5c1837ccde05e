package cuda

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// Extents of kernels/linear.cu.
const (
	rowThreads = 512
	tileRows   = 16
	mostTokens = 16 // that a block multiplies with its weights
	sumsBytes  = 4 * (64 + 32)
	normTokens = 4 // that every block normalises itself, at most
)

// Reduction orders that kernels of ternary products agree on: sums are exact and
// scaled in one way; a norm before them is that of rownorm.cuh.
const (
	orderScaled = "int32"
	orderNormed = "chunks128.int32"
)

// product is a call of a kernel of linear.cu: tokens times the weights in
// operands `weights`, each followed by its scale.
type product struct {
	m, k    int
	n       []int
	tiles   int // groups of 16 rows that a block computes together
	parts   int // matrices in a tile
	blocks  int
	shared  int // bytes
	reached int // bytes of weights
}

// productOf lays out a call. A gate takes the same rows of both matrices together.
func (d *Device) productOf(c *devices.Call, weights []int, gate bool) product {
	p := product{m: c.In[0].Dims[0], k: c.In[0].Dims[1], parts: 1}
	for _, i := range weights {
		n := c.In[i].Dims[0]
		p.n = append(p.n, n)
		p.tiles += ceilDiv(n, tileRows)
		p.reached += n * units(p.k) * unitBytes
	}
	if gate {
		p.tiles, p.parts = ceilDiv(p.n[0], tileRows), 2
	}
	groups := ceilDiv(p.k, 256)
	m := min(p.m, mostTokens)
	// One block a multiprocessor, more where a block's rows would not fit.
	for p.blocks = min(p.tiles, d.info.Multiprocessors); ; p.blocks *= 2 {
		parts := ceilDiv(p.tiles, p.blocks) * p.parts
		rounds := ceilDiv(parts*groups, rowThreads/32)
		p.shared = rounds*rowThreads*32 + m*(groups*256+64) + mostTokens*4 + 2*sumsBytes + parts*tileRows*m*4
		if p.shared <= d.info.SharedPerBlock-staticShared || p.blocks >= p.tiles {
			break
		}
	}
	p.blocks = min(p.blocks, p.tiles)
	return p
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func (d *Device) productFits(p product) error {
	switch {
	case p.k > maxK:
		return fmt.Errorf("rows of %d are longer than %d", p.k, maxK)
	case p.shared > d.info.SharedPerBlock-staticShared:
		return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", p.shared, d.info.SharedPerBlock-staticShared)
	case ceilDiv(p.m, mostTokens) > 65535:
		return fmt.Errorf("%d tokens are too many", p.m)
	}
	return nil
}

// productCost is the time of a product of codes.
func (d *Device) productCost(p product) float64 {
	// As measured on an H100: half of the bandwidth, then 54 ns a megabyte for each
	// token of a tile, and 1.5 us a megabyte for each further tile.
	const perToken, perTile = 54e-6, 1.5e-3 // nanoseconds a byte
	bytes := float64(p.reached)
	memory := bytes / (0.5 * d.info.Bandwidth) * 1e9
	return launchCost + memory + bytes*(perToken*float64(min(p.m, mostTokens))+perTile*float64(ceilDiv(p.m, mostTokens)-1))
}

func (p product) shape() shape {
	return shape{blocks: p.blocks, tiles: ceilDiv(p.m, mostTokens), threads: rowThreads, shared: p.shared}
}

// linearArgs are arguments of kernels of linear.cu and gemv_sm90.cu behind the
// activations: up to three weights with scales, a residual and results.
func linearArgs(c *devices.Call, p product, weights []int, res int) []any {
	const none = int64(0) // a null pointer
	var w, y, n []any
	for i := range 3 {
		if i < len(weights) {
			w = append(w, c.In[weights[i]], c.In[weights[i]+1])
			y, n = append(y, c.Out[i]), append(n, int32(p.n[i]))
		} else {
			w, y, n = append(w, none, none), append(y, none), append(n, int32(0))
		}
	}
	add := any(none)
	if res > 0 {
		add = c.In[res]
	}
	return slices.Concat(w, []any{add}, y, n, []any{int32(p.k)})
}

// wantPacked checks that the weights have the layout of the kernels.
func wantPacked(c *devices.Call, weights []int) error {
	for _, i := range weights {
		if c.In[i].Layout != i2x64 {
			return fmt.Errorf("%s: operand %d is in layout %q, not %q", c.Op.Name, i, c.In[i].Layout, i2x64)
		}
	}
	return nil
}

// packed says which operands of an op have layout i2x64.
func packed(weights ...int) []graph.Layout {
	ls := make([]graph.Layout, weights[len(weights)-1]+1)
	for _, i := range weights {
		ls[i] = i2x64
	}
	return ls
}

// decodeKernels lists the kernels of a decode step.
func (d *Device) decodeKernels() []devices.Kernel {
	return slices.Concat(d.codesKernels(), d.normedKernels(), d.gemvKernels(), d.cacheKernels(), d.stepKernels(), d.groupKernels())
}

// codesKernels are products with tokens that are quantized already.
func (d *Device) codesKernels() []devices.Kernel {
	row := func(op *graph.OpDef, res int, weights ...int) devices.Kernel {
		k := devices.Kernel{
			Name: op.Name + ".i2x64.mma", Op: op, Needs: sm80, Layouts: packed(weights...), Order: orderScaled,
			Accept: func(c *devices.Call) error { return d.productFits(d.productOf(c, weights, false)) },
			Cost:   func(c *devices.Call) float64 { return d.productCost(d.productOf(c, weights, false)) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				if err := wantPacked(c, weights); err != nil {
					return nil, err
				}
				p := d.productOf(c, weights, false)
				return d.bindEarly("codes_linear", p.shape(), append([]any{c.In[0], c.In[1], int32(p.m)}, linearArgs(c, p, weights, res)...)...)
			},
		}
		if res > 0 {
			k.InPlace = []graph.Update{{In: res, Out: 0}}
		}
		return k
	}
	return []devices.Kernel{
		row(bitlinear.IntLinearOp.OpDef, 0, 2),
		row(bitlinear.IntLinear2Op.OpDef, 0, 2, 4),
		row(bitlinear.IntLinear3Op.OpDef, 0, 2, 4, 6),
		row(bitlinear.LinearAddOp.OpDef, 4, 2),
	}
}

// normedKernels are products with the norm before them. For few tokens every
// block normalises them; otherwise the codes are made first.
func (d *Device) normedKernels() []devices.Kernel {
	var rows []devices.Kernel
	add := func(op, inner *graph.OpDef, res int, weights ...int) {
		gate := op == bitlinear.NormGLUOp.OpDef
		row := devices.Kernel{Op: op, Needs: sm80, Layouts: packed(weights...), Order: orderNormed}
		if res > 0 {
			row.InPlace = []graph.Update{{In: res, Out: 0}}
		}
		one := row
		one.Name = op.Name + ".i2x64.mma"
		one.Accept = func(c *devices.Call) error {
			if m := c.In[0].Dims[0]; m > normTokens {
				return fmt.Errorf("%d tokens are more than each block should normalise", m)
			}
			return d.productFits(d.productOf(c, weights, gate))
		}
		one.Cost = func(c *devices.Call) float64 {
			return d.productCost(d.productOf(c, weights, gate)) + 500*float64(c.In[0].Dims[0])
		}
		one.Bind = func(c *devices.Call) (devices.Launch, error) {
			if err := wantPacked(c, weights); err != nil {
				return nil, err
			}
			a := c.Attrs.(bitlinear.NormQuantAttrs)
			p := d.productOf(c, weights, gate)
			norm := []any{a.Eps, ops.QuantAttrs{Bits: a.Bits}.QMax()}
			if gate {
				return d.bindEarly("norm_glu", p.shape(), append([]any{c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5],
					c.Out[0], int32(p.m), int32(p.n[0]), int32(p.k)}, norm...)...)
			}
			return d.bindEarly("norm_linear", p.shape(), slices.Concat([]any{c.In[0], c.In[1], int32(p.m)}, linearArgs(c, p, weights, res), norm)...)
		}
		rows = append(rows, one)

		if gate {
			two := row
			two.Name = op.Name + ".i2x64.codes"
			n := gated{d: d, weights: weights}
			two.Accept, two.Cost, two.Scratch, two.Bind = n.accept, n.cost, n.scratch, n.bind
			rows = append(rows, two)
			rows = append(rows, d.wideGatedKernels(weights...)...)
		}
		many := row
		many.Name = op.Name + ".i2x64.apart"
		n := normed{d: d, inner: inner, weights: weights, gate: gate}
		many.Accept, many.Cost, many.Scratch, many.Bind = n.accept, n.cost, n.scratch, n.bind
		rows = append(rows, many)
	}
	add(bitlinear.NormLinear3Op.OpDef, bitlinear.IntLinear3Op.OpDef, 0, 2, 4, 6)
	add(bitlinear.NormLinearAddOp.OpDef, bitlinear.LinearAddOp.OpDef, 4, 2)
	add(bitlinear.NormGLUOp.OpDef, bitlinear.IntLinear2Op.OpDef, 0, 2, 4)
	return append(rows, devices.Kernel{
		Name: "fused.subln_quant.rows512", Op: bitlinear.SubLNQuantOp.OpDef, Needs: sm80, Order: orderNormed,
		Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
		Cost:   d.memoryCost,
		Bind:   d.bindNormQuant,
	})
}

// manyRows is from how many rows on kernels/norm_rows.cu is faster than a block of
// rowThreads for each.
const manyRows = 128

// bindNormQuant normalises rows and makes codes of them. All kernels for it give the
// same bits.
func (d *Device) bindNormQuant(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(bitlinear.NormQuantAttrs)
	rows, last := c.In[0].Rows(), c.In[0].Last()
	fn, threads := "norm_quant", rowThreads
	if step := 4 * rowThreads; rows >= manyRows && last%4 == 0 && last <= 4*step {
		fn, threads = "norm_rows_2", rowThreads/4
		if last > 2*step {
			fn = "norm_rows_4"
		}
	}
	return d.bindEarly(fn, shape{blocks: rows, threads: threads},
		c.In[0], c.In[1], c.Out[0], c.Out[1], int32(last), a.Eps, ops.QuantAttrs{Bits: a.Bits}.QMax())
}

// groupKernels are products whose weights have a scale for each group.
func (d *Device) groupKernels() []devices.Kernel {
	return []devices.Kernel{{
		Name: "ternary_group_matmul", Op: ternary.GroupMatMulOp.OpDef, Needs: sm80,
		Accept: func(c *devices.Call) error {
			if m := c.In[0].Dims[0]; m > 65535 || c.In[0].Last() > maxK {
				return fmt.Errorf("%d tokens, or rows of %d, are too many", m, c.In[0].Last())
			}
			return nil
		},
		Cost: d.memoryCost,
		Bind: func(c *devices.Call) (devices.Launch, error) {
			n, k := c.In[2].Dims[0], c.In[2].Dims[1]
			return d.bind("ternary_group_matmul", shape{blocks: ceilDiv(n, 8), tiles: c.In[0].Dims[0], threads: 256},
				c.In[0], c.In[1], c.In[2], c.In[3], c.Out[0], int32(n), int32(k), int32(c.In[3].Dims[1]))
		},
	}}
}
