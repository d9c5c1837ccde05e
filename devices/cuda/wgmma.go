package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// Figures of kernels/wgmma_sm90.cu.
const (
	wgmmaThreads = 256
	wgmmaRows    = 128 // of weights, for one block
	wgmmaStages  = 3
	wgmmaStep    = 128 // elements of a stage's rows
)

// wgmmaTile multiplies blocks of so many tokens on Hopper's warpgroup
// instructions.
func wgmmaTile(tokens, resident int, rate float64) gemmTile {
	return gemmTile{
		name: fmt.Sprintf("wgmma_%d", tokens), fn: fmt.Sprintf("ternary_wgmma_%d", tokens), needs: []devices.Feature{"sm_80", sm90a},
		rows: tokens, cols: wgmmaRows, threads: wgmmaThreads, shared: wgmmaStages*tokens*wgmmaStep + 1024, resident: resident, rate: rate,
	}
}

// wgmmaTiles lists the instances of kernels/wgmma_sm90.cu. Rates are measured on
// an H100, on large products.
var wgmmaTiles = []gemmTile{wgmmaTile(64, 2, 1500), wgmmaTile(128, 2, 1700), wgmmaTile(256, 1, 1800)}

// wideGated is fused.norm_glu as codes and a product whose block multiplies half
// as many rows of both gate and up.
type wideGated struct {
	gated
	tile gemmTile
	both devices.Kernel // the tile's for two products, which this takes as long as
}

// wideGatedKernels lists them, for weights at these operands.
func (d *Device) wideGatedKernels(weights ...int) []devices.Kernel {
	var rows []devices.Kernel
	for _, t := range wgmmaTiles {
		both := d.gemmKernel(gemmForm{op: bitlinear.IntLinear2Op.OpDef, weights: weights}, t)
		g := wideGated{gated{d: d, weights: weights}, t, both}
		rows = append(rows, devices.Kernel{
			Name: bitlinear.NormGLUOp.Name + ".i2x64." + t.name, Op: bitlinear.NormGLUOp.OpDef, Needs: t.needs,
			Layouts: packed(weights...), Order: orderNormed,
			Accept: g.accept, Cost: g.cost, Scratch: g.scratch, Bind: g.bind,
		})
	}
	return rows
}

// product is the two products as one call of the tile's kernel.
func (g wideGated) product(c *devices.Call) *devices.Call {
	q, s, _ := g.codes(c)
	return &devices.Call{Op: bitlinear.IntLinear2Op.OpDef, Attrs: graph.None{}, In: append([]devices.Operand{q, s}, c.In[2:]...), Out: c.Out, Where: c.Where}
}

func (g wideGated) accept(c *devices.Call) error {
	return errors.Join(rowsFit(c.In[0]), g.both.Accept(g.product(c)))
}

func (g wideGated) cost(c *devices.Call) float64 {
	return g.d.memoryCost(g.quant(c)) + g.both.Cost(g.product(c))
}

func (g wideGated) bind(c *devices.Call) (devices.Launch, error) {
	return g.bindCodes(c, func(q, s devices.Operand) (devices.Launch, error) {
		n := c.Out[0].Dims[1]
		sh := shape{blocks: ceilDiv(q.Rows(), g.tile.rows), tiles: ceilDiv(n, g.tile.cols/2), threads: g.tile.threads, shared: g.tile.shared}
		return g.d.bind("glu_"+g.tile.name, sh, q, s, c.In[2], c.In[3], c.In[4], c.In[5], c.Out[0], int32(q.Rows()), int32(n), int32(q.Last()))
	})
}
