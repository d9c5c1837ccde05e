package cuda

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// attentionTile is TILE in kernels/train_attention.cu.
const attentionTile = 128

// anyAttention are kernels for the calls of attention that no other kernel takes.
func (d *Device) anyAttention() []devices.Kernel {
	accept := func(c *devices.Call) error {
		if a, _ := attentionAttrs(c); a.Heads > 65535 {
			return fmt.Errorf("%d heads are too many", a.Heads)
		}
		return rowsFit(c.In[0])
	}
	// Every token looks at every other, in f32 without tensor cores.
	cost := func(c *devices.Call) float64 {
		n := float64(c.In[0].Dims[0])
		return launchCost + n*n*float64(c.In[0].Last())/(float64(d.info.Multiprocessors)*16)
	}
	bind := func(c *devices.Call, pass string, heads int, in []devices.Operand, out ...devices.Operand) (devices.Launch, error) {
		a, drop := attentionAttrs(c)
		if drop != nil {
			pass += "_dropout"
		}
		seq, pos := c.In[len(c.In)-2], c.In[len(c.In)-1]
		var args []any
		for _, o := range slices.Concat(in, []devices.Operand{seq, pos}, out) {
			args = append(args, o)
		}
		args = append(args, int32(c.In[0].Dims[0]), int32(a.Heads), int32(a.KVHeads), int32(c.In[0].Last()/a.Heads), int32(a.Window))
		return d.bind(typed("attention_any"+pass, c.In[0]), shape{blocks: c.In[0].Dims[0], tiles: heads, threads: attentionTile}, append(args, drop...)...)
	}
	forward := func(c *devices.Call) (devices.Launch, error) {
		a, _ := attentionAttrs(c)
		return bind(c, "", a.Heads, c.In[:3], c.Out[0], c.Out[1])
	}
	backward := func(c *devices.Call) (devices.Launch, error) {
		a, _ := attentionAttrs(c)
		q, err := bind(c, "_grad_q", a.Heads, c.In[:6], c.Out[0])
		if err != nil {
			return nil, err
		}
		kv, err := bind(c, "_grad_kv", a.KVHeads, c.In[:6], c.Out[1], c.Out[2])
		return inOrder(err, q, kv)
	}
	row := func(name string, op *graph.OpDef, bind func(c *devices.Call) (devices.Launch, error)) devices.Kernel {
		return devices.Kernel{Name: name, Op: op, Needs: sm80, BF16: true, Accept: accept, Cost: cost, Bind: bind}
	}
	return []devices.Kernel{
		row("attention.any", ops.AttentionOp.OpDef, forward), row("attention_grad.any", ops.AttentionGradOp.OpDef, backward),
		row("attention.dropout.any", ops.AttentionDropoutOp.OpDef, forward), row("attention.dropout_grad.any", ops.AttentionDropoutGradOp.OpDef, backward),
	}
}
