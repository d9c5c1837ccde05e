package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// gemmTile is one block shape of kernels/gemm.cu.
type gemmTile struct {
	name       string
	fn         string // of the kernel
	rows, cols int    // of the result
	threads    int
	shared     int // bytes
	resident   int // blocks that fit a multiprocessor
	// rate is the products of two int8 that a multiprocessor full of such
	// blocks makes in a nanosecond.
	rate float64
}

// gemmStage is the shared memory of a pipeline of stages, each with units units
// of the inner dimension.
func gemmStage(rows, cols, units, stages int) int { return stages * units * (rows*64 + cols*unitBytes) }

// mmaTiles lists the instances of kernels/gemm.cu. Rates are measured on an H100,
// on large products.
var mmaTiles = []gemmTile{
	mmaTile(gemmTile{rows: 128, cols: 256, threads: 256, shared: gemmStage(128, 256, 2, 4), resident: 1, rate: 1700}),
	mmaTile(gemmTile{rows: 128, cols: 320, threads: 256, shared: gemmStage(128, 320, 2, 4), resident: 1, rate: 1700}),
	mmaTile(gemmTile{rows: 128, cols: 128, threads: 128, shared: gemmStage(128, 128, 2, 4), resident: 2, rate: 2100}),
	mmaTile(gemmTile{rows: 64, cols: 64, threads: 128, shared: gemmStage(64, 64, 4, 3), resident: 2, rate: 1300}),
	mmaTile(gemmTile{rows: 16, cols: 32, threads: 128, shared: gemmStage(16, 32, 8, 3), resident: 4, rate: 500}),
}

func mmaTile(t gemmTile) gemmTile {
	shape := fmt.Sprintf("%dx%d", t.rows, t.cols)
	t.name, t.fn = "mma_"+shape, "ternary_gemm_"+shape
	return t
}

// tiles is how many blocks cover m rows of each of the weight matrices.
func (t gemmTile) tiles(m int, ns ...int) (rows, cols int) {
	for _, n := range ns {
		cols += (n + t.cols - 1) / t.cols
	}
	return (m + t.rows - 1) / t.rows, cols
}

// A gemmForm is an op that is made of ternary products of one input.
type gemmForm struct {
	op      *graph.OpDef
	weights []int // operands that are weights; their scales follow them, except in ternary.matmul
	res     int   // operand that is added, or 0
}

var gemmForms = []gemmForm{
	{op: ternary.MatMulOp.OpDef, weights: []int{1}},
	{op: bitlinear.IntLinearOp.OpDef, weights: []int{2}},
	{op: bitlinear.LinearAddOp.OpDef, weights: []int{2}, res: 4},
	{op: bitlinear.IntLinear2Op.OpDef, weights: []int{2, 4}},
	{op: bitlinear.IntLinear3Op.OpDef, weights: []int{2, 4, 6}},
}

// outs are the numbers of outputs of the call's weights.
func (f gemmForm) outs(c *devices.Call) []int {
	var ns []int
	for _, i := range f.weights {
		ns = append(ns, c.In[i].Dims[0])
	}
	return ns
}

// gemmKernels lists ternary products on tensor cores.
func (d *Device) gemmKernels() []devices.Kernel {
	var rows []devices.Kernel
	for _, f := range gemmForms {
		for _, t := range mmaTiles {
			rows = append(rows, d.gemmKernel(f, t))
		}
		for _, t := range wgmmaTiles {
			rows = append(rows, d.wideKernel(f, t))
		}
	}
	return rows
}

// packedWeights are the layouts of the op's operands.
func (f gemmForm) packedWeights() []graph.Layout { return packed(f.weights...) }

// args are the arguments of the kernels of kernels/gemm.cu, with which those of
// kernels/wgmma_sm90.cu begin.
func (f gemmForm) args(c *devices.Call) ([]any, error) {
	if err := wantPacked(c, f.weights); err != nil {
		return nil, err
	}
	const none = int64(0) // a null pointer
	args := []any{c.In[0], none, none, int32(c.In[0].Rows()), int32(c.In[0].Last())}
	scaled := f.op != ternary.MatMulOp.OpDef
	if scaled {
		args[1] = c.In[1]
	}
	if f.res > 0 {
		args[2] = c.In[f.res]
	}
	for i, w := range f.weights {
		args = append(args, c.In[w], none, c.Out[i], int32(c.In[w].Dims[0]))
		if scaled {
			args[len(args)-3] = c.In[w+1]
		}
	}
	for len(args) < 17 {
		args = append(args, none, none, none, int32(0))
	}
	return args, nil
}

// gemmFits checks what all tiles ask of a call.
func (d *Device) gemmFits(c *devices.Call, shared int) error {
	k := c.In[0].Last()
	if k > maxK {
		return fmt.Errorf("rows of %d are longer than %d", k, maxK)
	}
	if k%16 != 0 {
		return fmt.Errorf("rows of %d bytes are not whole copies of 16", k)
	}
	if most := d.info.SharedPerBlock - staticShared; shared > most {
		return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", shared, most)
	}
	if c.In[0].Rows() >= 1<<30 {
		return errors.New("too many rows")
	}
	return nil
}

func (d *Device) gemmKernel(f gemmForm, t gemmTile) devices.Kernel {
	return devices.Kernel{
		Name: f.op.Name + ".i2x64." + t.name, Op: f.op, Needs: sm80, Layouts: f.packedWeights(), Order: orderScaled,
		Accept: func(c *devices.Call) error {
			if _, cols := t.tiles(1, f.outs(c)...); cols > 65535 {
				return errors.New("too many tiles")
			}
			return d.gemmFits(c, t.shared)
		},
		Cost: func(c *devices.Call) float64 {
			rows, cols := t.tiles(c.In[0].Rows(), f.outs(c)...)
			// Blocks come in waves; all of a wave take as long as one.
			wave := t.resident * d.info.Multiprocessors
			perBlock := float64(t.rows*t.cols*c.In[0].Last()) * float64(t.resident) / t.rate
			compute := float64((rows*cols+wave-1)/wave) * perBlock
			return launchCost + max(compute, d.memoryCost(c)-launchCost)
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			args, err := f.args(c)
			if err != nil {
				return nil, err
			}
			sh := shape{threads: t.threads, shared: t.shared}
			sh.blocks, sh.tiles = t.tiles(c.In[0].Rows(), f.outs(c)...)
			return d.bind(t.fn, sh, args...)
		},
	}
}
