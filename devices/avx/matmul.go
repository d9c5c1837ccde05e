package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// gemmKernels is the f32 product of matrices in all transpositions: packed
// panels of b, tiles of y as tasks.
func (u *unit) gemmKernels() []devices.Kernel {
	return []devices.Kernel{u.batchKernel(), u.row(devices.Kernel{
		Name: "matmul.panels.f32", Op: ops.MatMulOp.OpDef, Order: "fma256",
		Accept: func(c *devices.Call) error { return wantElem(c.In[1], graph.F32) },
		Cost: func(c *devices.Call) float64 {
			m, n, k, ta := gemmShape(c)
			rate := 30.0 // multiply-adds a nanosecond
			if u.isa == asm.AVX512 {
				rate = 60
			}
			packed := k * n
			if ta {
				packed += m * k
			}
			// Rows are done in tiles; few of them leave a tile idle.
			return 2*costCall + float64(packed)/2 + float64(ceilDiv(m, 4)*4*n*k)/rate
		},
		Scratch: func(c *devices.Call) int {
			m, n, k, ta := gemmShape(c)
			return 4 * asm.ProductScratch(ta, m, n, k, u.threads)
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			m, n, k, _ := gemmShape(c)
			a := c.Attrs.(ops.MatMulAttrs)
			mem := host.Bytes(c.Scratch, c.Scratch.Bytes())
			x := asm.Mat{Data: f32(c.In[0]), Ld: c.In[0].Last(), Trans: a.TA}
			w := asm.Mat{Data: f32(c.In[1]), Ld: c.In[1].Last(), Trans: a.TB}
			y := f32(c.Out[0])
			if len(y) != m*n || len(x.Data) != m*k || len(w.Data) != k*n {
				return nil, fmt.Errorf("operands are not in host memory")
			}
			p := u.isa.NewProduct(y, n, x, w, m, n, k, false, u.threads, view[float32](mem, len(mem)/4))
			return host.Launch{Where: c.Where, Phases: []host.Phase{
				{Tasks: p.PackTasks(), Run: p.Pack},
				{Tasks: p.TileTasks(), Run: p.Tile},
			}}, nil
		},
	})}
}

func gemmShape(c *devices.Call) (m, n, k int, ta bool) {
	a := c.Attrs.(ops.MatMulAttrs)
	k = c.In[0].Dims[1]
	if a.TA {
		k = c.In[0].Dims[0]
	}
	return c.Out[0].Dims[0], c.Out[0].Dims[1], k, a.TA
}
