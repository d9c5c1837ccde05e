package cuda

import (
	"encoding/binary"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/ops"
)

// maxScalars is how many numbers one kernel adds (Scalars in kernels/train_optim.cu).
const maxScalars = 120

// optimizerKernels update params in place.
func (d *Device) optimizerKernels() []devices.Kernel {
	return []devices.Kernel{
		{
			Name: "clip.f64", Op: ops.ClipOp.OpDef, Needs: sm80, Cost: d.memoryCost,
			Scratch: func(*devices.Call) int { return 8 },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				var all []devices.Launch
				for at := 0; at == 0 || at < len(c.In); at += maxScalars {
					list := make(blob, 8*maxScalars)
					n := min(maxScalars, len(c.In)-at)
					for i, o := range c.In[at : at+n] {
						p, err := d.span(o.Buf, o.Off, o.Bytes())
						if err != nil {
							return nil, err
						}
						binary.LittleEndian.PutUint64(list[8*i:], uint64(p))
					}
					begin := int32(0)
					if at == 0 {
						begin = 1
					}
					l, err := d.bind("clip_add", shape{blocks: 1, threads: 32}, list, int32(n), c.Scratch, begin)
					if err != nil {
						return nil, err
					}
					all = append(all, l)
				}
				l, err := d.bind("clip_factor", shape{blocks: 1, threads: 32}, c.Scratch, c.Out[0], c.Out[1], c.Attrs.(ops.ClipAttrs).Max)
				return inOrder(err, append(all, l)...)
			},
		},
		{Name: "adamw.f32", Op: ops.AdamWOp.OpDef, Needs: sm80, Cost: d.memoryCost, Bind: d.adamw},
		{Name: "adamw_cast.f32", Op: ops.AdamWCastOp.OpDef, Needs: sm80, Cost: d.memoryCost, Bind: d.adamw},
		d.clipGrads(),
		{
			Name: "ema.f32", Op: ops.EMAOp.OpDef, Needs: sm80, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				move := float32(1 - c.Attrs.(ops.EMAAttrs).Decay)
				return d.bind("ema", d.perElement(c.Out[0]), c.Out[0], c.In[1], int64(c.Out[0].Len()), move)
			},
		},
		{
			Name: "accumulate.f32", Op: ops.AccumulateOp.OpDef, Needs: sm80, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind("accumulate_f32", d.perElement(c.Out[0]), c.Out[0], c.In[1], c.In[2], int64(c.Out[0].Len()))
			},
		},
	}
}
