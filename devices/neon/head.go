package neon

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// headKernels are products with rows of weights as they are stored: the output
// head, and small linear layers. Every sum is reduced in one order, whatever the
// number of tokens.
func (u *unit) headKernels() []devices.Kernel {
	row := func(elem graph.DType) devices.Kernel {
		return u.row(devices.Kernel{
			Name: "matmul.rows." + elem.String(), Op: ops.MatMulOp.OpDef, Order: "lanes16",
			Accept: func(c *devices.Call) error {
				if a := c.Attrs.(ops.MatMulAttrs); a.TA || !a.TB {
					return fmt.Errorf("it takes b transposed and a not")
				}
				return wantElem(c.In[1], elem)
			},
			Cost: func(c *devices.Call) float64 {
				m, weights := float64(c.In[0].Dims[0]), float64(c.In[1].Len())
				return costCall + max(float64(c.In[1].Bytes())/rateBytes, m*weights/8)
			},
			Bind: u.bindHead,
		})
	}
	return []devices.Kernel{row(graph.F32), row(graph.BF16), row(graph.F16)}
}

// headTaskBytes of weights make a task.
const headTaskBytes = 128 << 10

func (u *unit) bindHead(c *devices.Call) (devices.Launch, error) {
	m, k, n := c.In[0].Dims[0], c.In[0].Dims[1], c.In[1].Dims[0]
	x, y := host.F32(c.In[0]), host.F32(c.Out[0])
	var dot func(y []float32, from, to int)
	switch w := c.In[1]; w.Elem {
	case graph.F32:
		f := host.F32(w)
		dot = func(y []float32, from, to int) { u.isa.DotF32(y, n, f[from*k:], x, to-from, m, k) }
	case graph.BF16:
		h := host.U16(w)
		dot = func(y []float32, from, to int) { u.isa.DotBF16(y, n, h[from*k:], x, to-from, m, k) }
	default:
		h := host.U16(w)
		dot = func(y []float32, from, to int) { u.isa.DotF16(y, n, h[from*k:], x, to-from, m, k) }
	}
	size := max(1, headTaskBytes/max(k*c.In[1].Elem.Size(), 1))
	return host.Chunks(c, n, size, func(from, to int) { dot(y[from:], from, to) }), nil
}
