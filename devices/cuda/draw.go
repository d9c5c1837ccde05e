package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/ops/screen"
)

// mostDrawn is the longest list that kernels/draw.cu draws from.
const mostDrawn = 64

// drawKernels draw tokens, so that only ids leave the GPU.
func (d *Device) drawKernels() []devices.Kernel {
	return []devices.Kernel{{
		Name: "screen.draw", Op: screen.DrawOp.OpDef, Needs: sm80,
		Accept: func(c *devices.Call) error {
			if n := c.In[0].Dims[1]; n > mostDrawn {
				return fmt.Errorf("lists of %d tokens, more than %d", n, mostDrawn)
			}
			return rowsFit(c.In[0])
		},
		Cost: d.memoryCost,
		Bind: func(c *devices.Call) (devices.Launch, error) {
			return d.bindEarly("screen_draw", shape{blocks: c.In[0].Dims[0], threads: 32}, c.In[0], c.In[1], c.In[2], c.Out[0], int32(c.In[0].Dims[1]))
		},
	}}
}
