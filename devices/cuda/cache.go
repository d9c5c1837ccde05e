package cuda

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// cacheKernels lists what fills the cache, and the gate.
func (d *Device) cacheKernels() []devices.Kernel {
	return []devices.Kernel{
		{
			Name: "fused.rope_append", Op: bitlinear.RoPEAppendOp.OpDef, Needs: sm80, Order: "each",
			InPlace: []graph.Update{{In: 2, Out: 0}},
			Accept: func(c *devices.Call) error {
				if n := angleBytes(c); n > maxAngles {
					return fmt.Errorf("a table of angles for the positions of this cache takes %s", size(n))
				}
				return rowsFit(c.In[2])
			},
			Cost: func(c *devices.Call) float64 { return launchCost },
			Bind: d.bindRoPEAppend,
		},
		{
			Name: "kv.append", Op: ops.KVAppendOp.OpDef, Needs: sm80, Order: "each",
			Accept: func(c *devices.Call) error { return rowsFit(c.In[2]) },
			Cost:   func(c *devices.Call) float64 { return launchCost },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				w := c.In[2].Last()
				sh := shape{blocks: c.In[2].Dims[0], tiles: ceilDiv(w, 256), threads: 256}
				return d.bindEarly("kv_append_"+c.In[0].Elem.String(), sh, c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5], c.In[6],
					int32(w), int32(c.In[6].Dims[0]), int32(c.In[6].Dims[1]), int32(c.In[0].Dims[0]), int32(c.In[0].Dims[1]))
			},
		},
		{
			Name: "fused.relu2_glu", Op: bitlinear.ReLU2GLUOp.OpDef, Needs: sm80, Order: "each",
			InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
			Cost:    d.memoryCost, Bind: d.bindReLU2GLU,
		},
	}
}

func (d *Device) bindRoPEAppend(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(bitlinear.RoPEAppendAttrs)
	angles, err := d.angles(a, angleBytes(c))
	if err != nil {
		return nil, err
	}
	dq, dk := c.In[2].Last(), c.In[3].Last()
	sh := shape{blocks: c.In[2].Dims[0], tiles: ceilDiv((dq+dk)/2+dk, 256), threads: 256}
	return d.bindEarly("rope_append_"+c.In[0].Elem.String(), sh, c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5], c.In[6], c.In[7],
		angles, c.Out[0], int32(dq), int32(dk), int32(a.HeadDim/2), int32(c.In[7].Dims[0]), int32(c.In[7].Dims[1]), int32(c.In[0].Dims[0]), int32(c.In[0].Dims[1]))
}

func (d *Device) bindReLU2GLU(c *devices.Call) (devices.Launch, error) {
	return d.bindEarly("relu2_glu", d.perElement(c.Out[0]), c.In[0], c.In[1], c.Out[0], int64(c.Out[0].Len()))
}

// maxAngles bounds the table of a rotary embedding: a million positions of heads
// of 128.
const maxAngles = 1 << 29

// angleBytes is the size of the table for every position that the cache of a
// rope_append can hold.
func angleBytes(c *devices.Call) int {
	a := c.Attrs.(bitlinear.RoPEAppendAttrs)
	return c.In[7].Dims[1] * c.In[0].Dims[1] * a.HeadDim * 4
}

// angles is a table of the cosines, then the sines, of each position: the same
// values as the op's own, which on the GPU would be worked out again for every
// layer.
func (d *Device) angles(a bitlinear.RoPEAppendAttrs, bytes int) (devices.Operand, error) {
	buf, err := d.constant(fmt.Sprint("angles ", a.Theta, a.HeadDim, bytes), bytes, func(data []byte) {
		t := graph.Tensor{Elem: graph.F32, Dims: []int{bytes / 4}, Data: data}.F32()
		half := a.HeadDim / 2
		for i := range half {
			f := ops.RoPEFreq(a.Theta, a.HeadDim, i)
			for pos := 0; (pos+1)*a.HeadDim <= len(t); pos++ {
				s, c := math.Sincos(float64(float32(pos) * f))
				t[pos*a.HeadDim+i], t[pos*a.HeadDim+half+i] = float32(c), float32(s)
			}
		}
	})
	return devices.Operand{Elem: graph.F32, Dims: []int{bytes / 4}, Buf: buf}, err
}

// constant returns device memory that fill has filled, once for each name. It
// lives as long as the device.
func (d *Device) constant(name string, bytes int, fill func([]byte)) (devices.Buffer, error) {
	if d.api == nil {
		return &buffer{d: d, size: bytes}, nil // nothing will run
	}
	d.constants.Lock()
	defer d.constants.Unlock()
	if b := d.constants.of[name]; b != nil {
		return b, nil
	}
	dev, err := d.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	b := dev.(*buffer)
	host := graph.NewTensor(graph.U8, bytes).Data
	fill(host)
	d.mu.Lock()
	err = d.with(func() error {
		for at := 0; at < bytes; at += 1 << 24 {
			if err := d.api.CopyIn(b.ptr+driver.Ptr(at), host[at:min(bytes, at+1<<24)], d.aux); err != nil {
				return err
			}
		}
		return d.api.StreamSync(d.aux)
	})
	d.mu.Unlock()
	if err != nil {
		return nil, wrap(d.Name()+": "+name, err)
	}
	if d.constants.of == nil {
		d.constants.of = map[string]*buffer{}
	}
	d.constants.of[name] = b
	return b, nil
}
