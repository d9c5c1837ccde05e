package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// held is how many elements of a row a thread keeps (HELD in kernels/rows.cuh).
const held = 32

// Most threads for a row, which bound its length.
const (
	maxRowGroup  = 512
	maxGradGroup = 256
)

// rowGroup is how many threads share a row of d elements: whole warps, one if
// they can.
func rowGroup(x devices.Operand) int {
	return max(32, ((x.Last()+held-1)/held+31)/32*32)
}

// groups gives each row to a group of threads.
func groups(x devices.Operand) shape {
	group := rowGroup(x)
	each := max(1, 256/group) // rows of a block
	if group > 32 {
		each = 1 // its barriers are those of the block
	}
	return shape{blocks: (x.Rows() + each - 1) / each, threads: each * group}
}

func shortRows(most int) func(c *devices.Call) error {
	return func(c *devices.Call) error {
		if rowGroup(c.In[0]) > most {
			return fmt.Errorf("rows of %d are longer than %d", c.In[0].Last(), most*held)
		}
		return rowsFit(c.In[0])
	}
}

// batchCost is memoryCost; a few rows are left to kernels made for them.
func (d *Device) batchCost(c *devices.Call) float64 {
	cost := d.memoryCost(c)
	if c.In[0].Rows() < 64 {
		cost += 500
	}
	return cost
}

// gradBlocks is how many blocks share the rows of a norm's gradient; each leaves
// a row of sums. It does not depend on the GPU.
func gradBlocks(x devices.Operand) int { return max(1, min(512, (x.Rows()+7)/8)) }

func normGradScratch(c *devices.Call) int { return gradBlocks(c.In[0]) * c.In[0].Last() * 4 }

// normKernels are norms and quantizers of whole batches.
func (d *Device) normKernels() []devices.Kernel {
	accept := shortRows(maxRowGroup)
	size := func(x devices.Operand) (rows, width, group any) {
		return int32(x.Rows()), int32(x.Last()), int32(rowGroup(x))
	}
	// gradSum adds up what arrives from several layers, and the residual stream.
	gradSum := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name + "_add.float", Op: op, Needs: sm80, BF16: true, Accept: shortRows(maxGradGroup),
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 0}, {In: 3, Out: 0}, {In: 4, Out: 0}}, Scratch: normGradScratch, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) { return d.normGrad(c, name, c.In[3:]...) },
		}
	}
	return []devices.Kernel{
		{
			Name: "rmsnorm.rows.float", Op: ops.RMSNormOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlace, Cost: d.batchCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x := c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("norm_rows", x), groups(x), x, c.In[1], c.Out[0], rows, width, group, c.Attrs.(ops.NormAttrs).Eps)
			},
		},
		{
			Name: "quant_fake.float", Op: ops.FakeQuantOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlace, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x := c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("quant_fake", x), groups(x), x, c.Out[0], rows, width, group, c.Attrs.(ops.QuantAttrs).QMax())
			},
		},
		{
			Name: "quant_act.rows.i8", Op: ops.QuantActOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Cost: d.batchCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x := c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("quant_rows", x), groups(x), x, c.Out[0], c.Out[1], rows, width, group, c.Attrs.(ops.QuantAttrs).QMax())
			},
		},
		{
			Name: "subln_quant.rows.i8", Op: bitlinear.SubLNQuantOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Cost: d.batchCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, x := c.Attrs.(bitlinear.NormQuantAttrs), c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("norm_quant_rows", x), groups(x), x, c.In[1], c.Out[0], c.Out[1], rows, width, group, a.Eps, a.QMax())
			},
		},
		{
			Name: "subln_fake.float", Op: bitlinear.SubLNFakeOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlace, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, x := c.Attrs.(bitlinear.NormQuantAttrs), c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("norm_fake", x), groups(x), x, c.In[1], c.Out[0], rows, width, group, a.Eps, a.QMax())
			},
		},
		{
			Name: "rmsnorm_grad.float", Op: ops.RMSNormGradOp.OpDef, Needs: sm80, BF16: true, Accept: shortRows(maxGradGroup),
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 0}}, Scratch: normGradScratch, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) { return d.normGrad(c, "rmsnorm_grad") },
		},
		{
			Name: "rmsnorm_grad_add.float", Op: bitlinear.NormGradAddOp.OpDef, Needs: sm80, BF16: true, Accept: shortRows(maxGradGroup),
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 0}, {In: 3, Out: 0}}, Scratch: normGradScratch, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) { return d.normGrad(c, "rmsnorm_grad_add", c.In[3]) },
		},
		gradSum("rmsnorm_grad_sum2", bitlinear.NormGradSum2AddOp.OpDef), gradSum("rmsnorm_grad_sum3", bitlinear.NormGradSum3AddOp.OpDef),
		{
			Name: "relu2_glu_subln_fake.float", Op: bitlinear.GLUSubLNFakeOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlaceOfEither, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, x := c.Attrs.(bitlinear.NormQuantAttrs), c.In[0]
				rows, width, group := size(x)
				return d.bind(inPacks("glu_fake", x), groups(x), x, c.In[1], c.In[2], c.Out[0], rows, width, group, a.Eps, a.QMax())
			},
		},
		{
			Name: "relu2_glu_subln_grad.float", Op: bitlinear.GLUSubLNGradOp.OpDef, Needs: sm80, BF16: true, Accept: shortRows(maxGradGroup),
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 1}, {In: 3, Out: 0}, {In: 3, Out: 1}}, Scratch: normGradScratch, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, sh := c.In[0], gradShape(c.In[0])
				rows, width, group := size(x)
				l, err := d.bind(inPacks("glu_grad", x), sh, x, c.In[1], c.In[2], c.In[3], c.Out[0], c.Out[1], c.Scratch, rows, width, group, c.Attrs.(ops.NormAttrs).Eps)
				if err != nil {
					return nil, err
				}
				gain, err := d.columnSum(c.Scratch, c.Out[2], sh.blocks)
				return inOrder(err, l, gain)
			},
		},
	}
}

// normGrad is a norm's gradient: the rows', then the gain's from what the blocks
// left. more are operands between dy and dx.
func (d *Device) normGrad(c *devices.Call, fn string, more ...devices.Operand) (devices.Launch, error) {
	x, sh := c.In[0], gradShape(c.In[0])
	args := []any{x, c.In[1], c.In[2]}
	for _, m := range more {
		args = append(args, m)
	}
	args = append(args, c.Out[0], c.Scratch, int32(x.Rows()), int32(x.Last()), int32(rowGroup(x)), c.Attrs.(ops.NormAttrs).Eps)
	rows, err := d.bind(inPacks(fn, x), sh, args...)
	if err != nil {
		return nil, err
	}
	gain, err := d.columnSum(c.Scratch, c.Out[1], sh.blocks)
	return inOrder(err, rows, gain)
}

// gradShape is the grid of a norm's gradient, with shared memory for the sums of
// each group of a block.
func gradShape(x devices.Operand) shape {
	group, threads := rowGroup(x), 256
	if group > 32 {
		threads = group
	}
	return shape{blocks: gradBlocks(x), threads: threads, shared: threads / group * x.Last() * 4}
}

// columnSum adds up the rows that blocks left in scratch.
func (d *Device) columnSum(part, y devices.Operand, blocks int) (devices.Launch, error) {
	return d.bind("column_sum", shape{blocks: (y.Len() + 31) / 32, threads: 512, shared: 8 * 512}, part, y, int32(blocks), int32(y.Len()))
}

// inOrder makes one launch of several, unless one of them failed to bind.
func inOrder(err error, launches ...devices.Launch) (devices.Launch, error) {
	if err != nil {
		return nil, err
	}
	all := make(several, len(launches))
	for i, l := range launches {
		all[i] = l.(work)
	}
	return all, nil
}
