package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// batchKernel multiplies pairs of matrices: each pair is a task, which packs and
// multiplies in memory of its worker's.
func (u *unit) batchKernel() devices.Kernel {
	return u.row(devices.Kernel{
		Name: "matmul.batch.panels.f32", Op: ops.BatchMatMulOp.OpDef, Order: "fma256",
		Cost: func(c *devices.Call) float64 {
			_, n, k, _ := gemmShape(pair(c))
			return costCall + float64(c.Out[0].Rows()*n*k)/15
		},
		Scratch: func(c *devices.Call) int {
			m, n, k, ta := gemmShape(pair(c))
			s := &scratch{}
			parts[float32](s, u.threads, asm.ProductScratch(ta, m, n, k, 1))
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			p := pair(c)
			m, n, k, ta := gemmShape(p)
			a := c.Attrs.(ops.MatMulAttrs)
			x, w, y := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
			pairs := 1
			for _, d := range c.Out[0].Dims[:len(c.Out[0].Dims)-2] {
				pairs *= d
			}
			if len(y) != pairs*m*n || len(x) != pairs*m*k || len(w) != pairs*k*n {
				return nil, fmt.Errorf("operands are not in host memory")
			}
			mem := parts[float32](bindScratch(c), u.threads, asm.ProductScratch(ta, m, n, k, 1))
			products := make([]*asm.Product, pairs*u.threads)
			for i := range products {
				at, worker := i/u.threads, i%u.threads
				products[i] = u.isa.NewProduct(y[at*m*n:(at+1)*m*n], n,
					asm.Mat{Data: x[at*m*k : (at+1)*m*k], Ld: p.In[0].Last(), Trans: a.TA},
					asm.Mat{Data: w[at*k*n : (at+1)*k*n], Ld: p.In[1].Last(), Trans: a.TB},
					m, n, k, false, 1, mem[worker])
			}
			return host.Parallel(c, pairs, func(task, worker int) {
				p := products[task*u.threads+worker]
				for t := range p.PackTasks() {
					p.Pack(t, 0)
				}
				for t := range p.TileTasks() {
					p.Tile(t, 0)
				}
			}), nil
		},
	})
}

// pair is the call of one pair of matrices.
func pair(c *devices.Call) *devices.Call {
	last2 := func(os []devices.Operand) []devices.Operand {
		out := make([]devices.Operand, len(os))
		for i, o := range os {
			out[i] = devices.Operand{Elem: o.Elem, Dims: o.Dims[len(o.Dims)-2:]}
		}
		return out
	}
	return &devices.Call{Attrs: c.Attrs, In: last2(c.In), Out: last2(c.Out)}
}
