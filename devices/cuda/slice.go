package cuda

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/ops/ternary"
)

// copying is a bound copy inside device memory.
type copying struct {
	d        *Device
	to, from driver.Ptr
	bytes    int
}

func (c *copying) device() *Device { return c.d }

func (c *copying) enqueue(s driver.Stream) error {
	if c.bytes == 0 {
		return nil
	}
	return c.d.api.CopyDevice(c.to, c.from, c.bytes, s)
}

// sliceKernels lists those that take a stretch of memory.
func (d *Device) sliceKernels() []devices.Kernel {
	return []devices.Kernel{{
		Name: "ternary_slice", Op: ternary.SliceOp.OpDef, Needs: sm80,
		Cost: d.memoryCost,
		Bind: func(c *devices.Call) (devices.Launch, error) {
			bytes := c.Out[0].Bytes()
			from, err := d.span(c.In[0].Buf, c.In[0].Off+c.Attrs.(ternary.RowsAttrs).From*c.In[0].Last(), bytes)
			if err != nil {
				return nil, err
			}
			to, err := d.span(c.Out[0].Buf, c.Out[0].Off, bytes)
			if err != nil {
				return nil, err
			}
			return &copying{d, to, from, bytes}, nil
		},
	}}
}
