package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) lookupKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "embedding", Op: ops.EmbeddingOp.OpDef, Order: "each",
			Cost: func(c *devices.Call) float64 { return costCall + float64(2*c.Out[0].Bytes())/rateBytes },
			Bind: u.bindEmbedding,
		}),
		u.row(devices.Kernel{
			Name: "rows", Op: ops.RowsOp.OpDef, Order: "each",
			Cost: func(c *devices.Call) float64 { return costCall + float64(2*c.Out[0].Bytes())/rateBytes },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				n := c.In[0].Dims[0]
				src, dst := host.Bytes(c.In[0], c.In[0].Bytes()), host.Bytes(c.Out[0], c.Out[0].Bytes())
				idx := host.I32(c.In[1])
				w := len(src) / max(n, 1)
				return rowChunks(c, len(idx), w/4, func(from, to int) {
					for i := from; i < to; i++ {
						r := int(idx[i])
						if r < 0 || r >= n {
							host.Fail(fmt.Errorf("row %d at %d is outside the %d rows", r, i, n))
						}
						copy(dst[i*w:(i+1)*w], src[r*w:])
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "embedding.grad.f32", Op: ops.EmbeddingGradOp.OpDef, Order: "token",
			Bind: u.bindEmbeddingGrad,
		}),
	}
}

// checkID ends the launch if id, at position i, is not a row of the table.
func checkID(id int32, i, rows int) {
	if int(id) < 0 || int(id) >= rows {
		host.Fail(fmt.Errorf("id %d at %d is outside the table of %d rows", id, i, rows))
	}
}

func (u *unit) bindEmbedding(c *devices.Call) (devices.Launch, error) {
	rows, d := c.In[0].Dims[0], c.In[0].Dims[1]
	ids, y := host.I32(c.In[1]), f32(c.Out[0])
	var load func(dst []float32, at int)
	switch t := c.In[0]; t.Elem {
	case graph.F32:
		f := f32(t)
		load = func(dst []float32, at int) { copy(dst, f[at:]) }
	case graph.BF16:
		h := host.U16(t)
		load = func(dst []float32, at int) { u.isa.BF16ToF32(dst, h[at:]) }
	default:
		h := host.U16(t)
		load = func(dst []float32, at int) { u.isa.F16ToF32(dst, h[at:]) }
	}
	return rowChunks(c, len(ids), d, func(from, to int) {
		for i := from; i < to; i++ {
			checkID(ids[i], i, rows)
			load(y[i*d:(i+1)*d], int(ids[i])*d)
		}
	}), nil
}

// bindEmbeddingGrad gives every task a range of table rows, for which it looks
// through all tokens in order.
func (u *unit) bindEmbeddingGrad(c *devices.Call) (devices.Launch, error) {
	rows, d := c.Out[0].Dims[0], c.Out[0].Dims[1]
	ids, dy, dt := host.I32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
	size := max(1, ceilDiv(rows, 4*u.threads))
	return host.Chunks(c, rows, size, func(from, to int) {
		clear(dt[from*d : to*d])
		for i, id := range ids {
			if r := int(id); r >= from && r < to {
				row := dt[r*d : (r+1)*d]
				u.isa.Add(row, row, dy[i*d:(i+1)*d])
			} else if from == 0 {
				checkID(id, i, rows)
			}
		}
	}), nil
}
