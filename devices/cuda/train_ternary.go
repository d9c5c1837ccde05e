package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// weightKernels quantize weights in a step, and turn codes into floats again.
func (d *Device) weightKernels() []devices.Kernel {
	scratch := func(c *devices.Call) int { return partsBytes(c.In[0].Len()) }
	fake := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name, Op: op, Needs: sm80, Scratch: scratch, Cost: d.memoryCost,
			Accept: func(c *devices.Call) error {
				if c.Out[0].Elem != graph.F32 && (c.Out[0].Elem != graph.BF16 || c.In[0].Elem != graph.F32) {
					return fmt.Errorf("weights are %s and the result %s; of masters in f32 it may be bf16", c.In[0].Elem, c.Out[0].Elem)
				}
				return nil
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				w, group := c.In[0], groupOf(c.Attrs)
				if group > 0 {
					n := w.Len() / group
					return d.bind(typed(typed("ternary_fake_groups", w), c.Out[0]), shape{blocks: (n + 7) / 8, threads: 256}, w, c.Out[0], int64(n), int32(group))
				}
				mean, parts, err := d.absmean(c, w)
				if err != nil {
					return nil, err
				}
				l, err := d.bind(typed(typed("ternary_fake", w), c.Out[0]), d.perElement(w), w, c.Scratch, parts, c.Out[0], int64(w.Len()))
				return inOrder(err, mean, l)
			},
		}
	}
	dequant := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name, Op: op, Needs: sm80, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				y := c.Out[0]
				return d.bind(typed("dequant", y), d.perElement(y), c.In[0], c.In[1], y, int64(y.Len()), int32(y.Last()))
			},
		}
	}
	weights := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name, Op: op, Needs: sm80, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				y := c.Out[0]
				return d.bind(typed("ternary_dequant", y), d.perElement(y), c.In[0], c.In[1], y, int64(y.Len()))
			},
		}
	}
	return []devices.Kernel{
		{
			Name: "ternary_quantize.absmean", Op: ternary.QuantizeOp.OpDef, Needs: sm80, Scratch: scratch, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				w, a := c.In[0], c.Attrs.(ternary.ScaleAttrs)
				if a.Group > 0 {
					n := w.Len() / a.Group
					return d.bind(typed("ternary_groups", w), shape{blocks: (n + 7) / 8, threads: 256}, w, c.Out[0], c.Out[1], int64(n), int32(a.Group))
				}
				mean, parts, err := d.absmean(c, w)
				if err != nil {
					return nil, err
				}
				l, err := d.bind(typed("ternary_quantize", w), d.perElement(w), w, c.Scratch, parts, c.Out[0], c.Out[1], int64(w.Len()))
				return inOrder(err, mean, l)
			},
		},
		fake("ternary_fake.absmean", ternary.FakeOp.OpDef), fake("ternary_fake_cast.absmean", bitlinear.FakeCastOp.OpDef),
		dequant("dequant.i8", ops.DequantOp.OpDef), dequant("dequant_cast.i8", bitlinear.DequantCastOp.OpDef),
		weights("ternary_dequant.i8", ternary.DequantOp.OpDef), weights("ternary_dequant_cast.i8", bitlinear.WeightDequantCastOp.OpDef),
	}
}

// groupOf is the group size of a weight quantizer's attributes.
func groupOf(attrs any) int {
	if a, ok := attrs.(bitlinear.FakeCastAttrs); ok {
		return a.Group
	}
	return attrs.(ternary.ScaleAttrs).Group
}

// absmean adds up the magnitudes of w in parts, whose number it returns too.
func (d *Device) absmean(c *devices.Call, w devices.Operand) (devices.Launch, int32, error) {
	parts := fixedParts(w.Len())
	l, err := d.bind(typed("absmean", w), shape{blocks: parts, threads: 256}, w, c.Scratch, int64(w.Len()))
	return l, int32(parts), err
}
