package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// staticShared bounds the shared memory that kernels declare themselves.
const staticShared = 1 << 10

// sm80 is what every kernel needs: it is what the PTX is compiled for.
var sm80 = []devices.Feature{"sm_80"}

// launchCost is what one more kernel in a graph costs, in nanoseconds.
const launchCost = 1100

// kernelTable lists every kernel.
func (d *Device) kernelTable() []devices.Kernel {
	rows := d.ternaryKernels()
	rows = append(rows,
		devices.Kernel{
			Name: "rmsnorm.f32", Op: ops.RMSNormOp.OpDef, Needs: sm80,
			Accept:  func(c *devices.Call) error { return rowsFit(c.In[0]) },
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Cost:    d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.NormAttrs)
				return d.bind("rmsnorm", perRow(c.In[0]), c.In[0], c.In[1], c.Out[0], int32(c.In[0].Last()), a.Eps)
			},
		},
		devices.Kernel{
			Name: "quant_act.i8", Op: ops.QuantActOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.QuantAttrs)
				return d.bind("quant_act", perRow(c.In[0]), c.In[0], c.Out[0], c.Out[1], int32(c.In[0].Last()), a.QMax())
			},
		},
		devices.Kernel{
			Name: "subln_quant.i8", Op: bitlinear.SubLNQuantOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(bitlinear.NormQuantAttrs)
				qmax := ops.QuantAttrs{Bits: a.Bits, Round: a.Round}.QMax()
				return d.bind("subln_quant", perRow(c.In[0]), c.In[0], c.In[1], c.Out[0], c.Out[1], int32(c.In[0].Last()), a.Eps, qmax)
			},
		},
		devices.Kernel{
			Name: "add.f32", Op: ops.AddOp.OpDef, Needs: sm80,
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
			Cost:    d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				scalar := int32(0)
				if len(c.In[1].Dims) == 0 {
					scalar = 1
				}
				return d.bind("add", d.perElement(c.Out[0]), c.In[0], c.In[1], c.Out[0], int64(c.Out[0].Len()), scalar)
			},
		},
		devices.Kernel{
			Name: "rescale.f32", Op: bitlinear.RescaleOp.OpDef, Needs: sm80,
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Cost:    d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind("rescale", d.perElement(c.Out[0]), c.In[0], c.In[1], c.In[2], c.Out[0], int64(c.Out[0].Len()), int32(c.Out[0].Last()))
			},
		},
	)
	return rows
}

// rowsFit checks the limits of kernels that give each row to a block.
func rowsFit(x devices.Operand) error {
	if x.Rows() >= 1<<31 || x.Last() >= 1<<30 {
		return fmt.Errorf("%v has too many rows or too long ones", x.Dims)
	}
	return nil
}

// perRow is one block a row.
func perRow(x devices.Operand) shape {
	threads := 256
	for threads < 1024 && threads*16 < x.Last() {
		threads *= 2
	}
	return shape{blocks: x.Rows(), threads: threads}
}

// perElement is a grid that covers y; kernels stride over what is left.
func (d *Device) perElement(y devices.Operand) shape {
	const threads = 256
	return shape{blocks: min((y.Len()+threads-1)/threads, 16*d.info.Multiprocessors), threads: threads}
}

// memoryCost is the time to read every operand and write every result once.
func (d *Device) memoryCost(c *devices.Call) float64 {
	n := 0
	for _, o := range c.In {
		n += d.bytes(o)
	}
	for _, o := range c.Out {
		n += d.bytes(o)
	}
	return launchCost + float64(n)/d.info.Bandwidth*1e9
}
