package cuda

import (
	"errors"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/ternary"
)

// packingTernary multiplies codes by weights that change every step, as the
// integer forward pass of training does: it packs them into scratch memory, then
// runs the cheapest of the kernels for packed ones.
func (d *Device) packingTernary() devices.Kernel {
	packed := func(c *devices.Call) *devices.Call {
		p := *c
		p.In = []devices.Operand{c.In[0], c.In[1]}
		p.In[1].Layout, p.In[1].Buf, p.In[1].Off = i2x64, c.Scratch.Buf, c.Scratch.Off
		return &p
	}
	room := func(c *devices.Call) int {
		return (d.bytes(packed(c).In[1]) + devices.Align - 1) / devices.Align * devices.Align
	}
	choose := func(c *devices.Call) (best devices.Kernel, err error) {
		least := -1.0
		for _, k := range append(d.ternaryKernels(), d.gemmKernels()...) {
			if k.Op != ternary.MatMulOp.OpDef || len(k.Layouts) < 2 || k.Layouts[1] != i2x64 || !d.has(k.Needs) || k.Fit(packed(c)) != nil {
				continue
			}
			if cost := k.Cost(packed(c)); least < 0 || cost < least {
				best, least = k, cost
			}
		}
		if least < 0 {
			err = errors.New("no kernel for packed weights takes these extents")
		}
		return best, err
	}
	return devices.Kernel{
		Name: "ternary_matmul.packing", Op: ternary.MatMulOp.OpDef, Needs: sm80,
		// Both plain, but said so: a device with a kernel that lists no layouts is
		// one where the integer forward pass is the faster one, and is the default.
		Layouts: []graph.Layout{"", ""},
		Accept:  func(c *devices.Call) error { _, err := choose(c); return err },
		Cost: func(c *devices.Call) float64 {
			k, err := choose(c)
			if err != nil {
				return 0
			}
			return k.Cost(packed(c)) + launchCost + float64(c.In[1].Bytes())/d.info.Bandwidth*1e9
		},
		Scratch: func(c *devices.Call) int {
			n := room(c)
			if k, err := choose(c); err == nil && k.Scratch != nil {
				n += k.Scratch(packed(c))
			}
			return n
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			k, err := choose(c)
			if err != nil {
				return nil, err
			}
			p, n := packed(c), room(c)
			p.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{c.Scratch.Len() - n}, Buf: c.Scratch.Buf, Off: c.Scratch.Off + n}
			pack, err := d.packTernary(c.In[1], p.In[1])
			if err != nil {
				return nil, err
			}
			l, err := k.Bind(p)
			return inOrder(err, pack, l)
		},
	}
}

// has reports whether the GPU has all features.
func (d *Device) has(fs []devices.Feature) bool {
	for _, f := range fs {
		if !d.Has(f) {
			return false
		}
	}
	return true
}

// packTernary packs codes as i2x64.
func (d *Device) packTernary(in, out devices.Operand) (devices.Launch, error) {
	for _, l := range d.layouts {
		if l.Name == i2x64 {
			return l.Pack(in, out)
		}
	}
	return nil, errors.New("no layout " + string(i2x64))
}
