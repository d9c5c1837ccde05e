package cuda

import (
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// trainKernels lists the kernels of training, and of every op that a model may
// declare: a GPU has no reference implementations to fall back on.
func (d *Device) trainKernels() []devices.Kernel {
	return slices.Concat(
		d.unaryKernels(),
		d.binaryKernels(),
		d.mapKernels(),
		d.normKernels(),
		d.sumKernels(),
		d.arrayKernels(),
		d.lossKernels(),
		d.embeddingKernels(),
		d.optimizerKernels(),
		d.weightKernels(),
		d.anyAttention(),
		[]devices.Kernel{d.packingTernary()},
	)
}

// typed is the kernel of the family fn for the element type of o.
func typed(fn string, o devices.Operand) string { return fn + "_" + o.Elem.String() }

// inPacks is typed, or the kernel for rows that are no whole number of 16 bytes.
func inPacks(fn string, o devices.Operand) string {
	if o.Last()*o.Elem.Size()%16 != 0 {
		return typed(fn, o) + "_odd"
	}
	return typed(fn, o)
}

// perPack is perElement for kernels that take 16 bytes a thread.
func (d *Device) perPack(y devices.Operand) shape {
	const threads = 256
	packs := (y.Bytes() + 15) / 16
	return shape{blocks: max(1, min((packs+threads-1)/threads, 16*d.info.Multiprocessors)), threads: threads}
}

// fixedParts is how many blocks add up n elements. It depends on n alone, so that
// the order of a sum, and its bits, do not depend on the GPU.
func fixedParts(n int) int { return max(1, min(256, n/4096)) }

// partsBytes is the scratch for a sum of each block, in f64.
func partsBytes(n int) int { return 8 * fixedParts(n) }

var inPlace = []graph.Update{{In: 0, Out: 0}}
var inPlaceOfEither = []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}}

// unaryKernels are the elementwise functions and their gradients.
func (d *Device) unaryKernels() []devices.Kernel {
	var rows []devices.Kernel
	for _, f := range []struct {
		name     string
		fwd, bwd graph.Op[graph.None]
	}{
		{"relu", ops.ReLUOp, ops.ReLUGradOp}, {"relu2", ops.ReLU2Op, ops.ReLU2GradOp},
		{"silu", ops.SiLUOp, ops.SiLUGradOp}, {"gelu", ops.GELUOp, ops.GELUGradOp},
		{"sigmoid", ops.SigmoidOp, ops.SigmoidGradOp}, {"tanh", ops.TanhOp, ops.TanhGradOp},
		{"softplus", ops.SoftplusOp, ops.SoftplusGradOp},
		{"exp", ops.ExpOp, ops.ExpGradOp}, {"expm1", ops.Expm1Op, ops.Expm1GradOp},
		{"log", ops.LogOp, ops.LogGradOp}, {"log1p", ops.Log1pOp, ops.Log1pGradOp},
		{"sqrt", ops.SqrtOp, ops.SqrtGradOp}, {"sin", ops.SinOp, ops.SinGradOp},
		{"cos", ops.CosOp, ops.CosGradOp}, {"abs", ops.AbsOp, ops.AbsGradOp},
	} {
		rows = append(rows, devices.Kernel{
			Name: f.name + ".float", Op: f.fwd.OpDef, Needs: sm80, BF16: true, InPlace: inPlace, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed(f.name, c.In[0]), d.perPack(c.Out[0]), c.In[0], c.Out[0], int64(c.Out[0].Len()))
			},
		}, devices.Kernel{
			Name: f.name + "_grad.float", Op: f.bwd.OpDef, Needs: sm80, BF16: true, InPlace: inPlaceOfEither, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed(f.name+"_grad", c.In[0]), d.perPack(c.Out[0]), c.In[0], c.In[1], c.Out[0], int64(c.Out[0].Len()))
			},
		})
	}
	return rows
}

// binaryKernels are the elementwise functions of two operands, of which the
// second may be a scalar.
func (d *Device) binaryKernels() []devices.Kernel {
	bind := func(fn string) func(c *devices.Call) (devices.Launch, error) {
		return func(c *devices.Call) (devices.Launch, error) {
			name := fn
			if a, ok := c.Attrs.(ops.CompareAttrs); ok {
				name += "_" + a.Op
			}
			scalar := int32(0)
			if len(c.In[1].Dims) == 0 {
				scalar = 1
			}
			return d.bind(typed(name, c.In[0]), d.perPack(c.Out[0]), c.In[0], c.In[1], c.Out[0], int64(c.Out[0].Len()), scalar)
		}
	}
	row := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{Name: name + ".float", Op: op, Needs: sm80, BF16: true, InPlace: inPlaceOfEither, Cost: d.memoryCost, Bind: bind(name)}
	}
	return []devices.Kernel{
		row("add", ops.AddOp.OpDef), row("sub", ops.SubOp.OpDef), row("mul", ops.MulOp.OpDef), row("div", ops.DivOp.OpDef),
		row("compare", ops.CompareOp.OpDef),
	}
}

// mapKernels are the other elementwise ops.
func (d *Device) mapKernels() []devices.Kernel {
	return []devices.Kernel{
		{
			Name: "scale.float", Op: ops.ScaleOp.OpDef, Needs: sm80, BF16: true, InPlace: inPlace, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				by := float32(c.Attrs.(ops.ScaleAttrs).By)
				return d.bind(typed("scale", c.In[0]), d.perPack(c.Out[0]), c.In[0], c.Out[0], int64(c.Out[0].Len()), by)
			},
		},
		{
			Name: "fill.float", Op: ops.FillOp.OpDef, Needs: sm80, BF16: true, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed("fill", c.Out[0]), d.perElement(c.Out[0]), c.In[0], c.Out[0], int64(c.Out[0].Len()))
			},
		},
		{
			Name: "blend.float", Op: ops.BlendOp.OpDef, Needs: sm80, BF16: true, InPlace: inPlaceOfEither, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed("blend", c.In[0]), d.perPack(c.Out[0]), c.In[0], c.In[1], c.In[2], c.Out[0], int64(c.Out[0].Len()))
			},
		},
		{
			Name: "cast.float", Op: ops.CastOp.OpDef, Needs: sm80, BF16: true, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				if c.In[0].Elem == c.Out[0].Elem {
					return d.copyAxes(c.In[0], c.Out[0], flat(c.In[0]))
				}
				fn := typed(typed("cast", c.In[0]), c.Out[0])
				return d.bind(fn, d.perPack(c.Out[0]), c.In[0], c.Out[0], int64(c.Out[0].Len()))
			},
		},
		{
			Name: "dropout.float", Op: ops.DropoutOp.OpDef, Needs: sm80, BF16: true, InPlace: inPlace, Cost: d.memoryCost,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, x := c.Attrs.(ops.DropoutAttrs), c.In[0]
				key := a.Key()
				return d.bind(typed("dropout", x), d.covering((x.Len()+7)/8), x, c.In[1], c.Out[0], int32(x.Rows()), int32(x.Last()),
					int32(key[0]), int32(key[1]), int32(a.Stream), int32(a.Threshold()), a.Scale())
			},
		},
	}
}
