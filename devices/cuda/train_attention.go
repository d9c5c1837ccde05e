package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/ops"
)

// attentionTile is TILE in kernels/train_attention.cu.
const attentionTile = 128

// anyAttention are kernels for the calls of attention that no other kernel takes.
func (d *Device) anyAttention() []devices.Kernel {
	accept := func(c *devices.Call) error {
		if a := c.Attrs.(ops.AttentionAttrs); a.Heads > 65535 {
			return fmt.Errorf("%d heads are too many", a.Heads)
		}
		return rowsFit(c.In[0])
	}
	// Every token looks at every other, in f32 without tensor cores.
	cost := func(c *devices.Call) float64 {
		n := float64(c.In[0].Dims[0])
		return launchCost + n*n*float64(c.In[0].Last())/(float64(d.info.Multiprocessors)*16)
	}
	grid := func(c *devices.Call, heads int) shape {
		return shape{blocks: c.In[0].Dims[0], tiles: heads, threads: attentionTile}
	}
	sizes := func(c *devices.Call) []any {
		a := c.Attrs.(ops.AttentionAttrs)
		return []any{int32(c.In[0].Dims[0]), int32(a.Heads), int32(a.KVHeads), int32(c.In[0].Last() / a.Heads), int32(a.Window)}
	}
	return []devices.Kernel{
		{
			Name: "attention.any", Op: ops.AttentionOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Cost: cost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				args := []any{c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.Out[0], c.Out[1]}
				return d.bind(typed("attention_any", c.In[0]), grid(c, c.Attrs.(ops.AttentionAttrs).Heads), append(args, sizes(c)...)...)
			},
		},
		{
			Name: "attention_grad.any", Op: ops.AttentionGradOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Cost: cost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.AttentionAttrs)
				in := []any{c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5], c.In[6], c.In[7]}
				q, err := d.bind(typed("attention_any_grad_q", c.In[0]), grid(c, a.Heads), append(append(in, c.Out[0]), sizes(c)...)...)
				if err != nil {
					return nil, err
				}
				kv, err := d.bind(typed("attention_any_grad_kv", c.In[0]), grid(c, a.KVHeads), append(append(in, c.Out[1], c.Out[2]), sizes(c)...)...)
				return inOrder(err, q, kv)
			},
		},
	}
}
