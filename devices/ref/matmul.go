package ref

import (
	"errors"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// Both kernels add each output's products in float64 in the order of the inner
// dimension, as the reference does. A product of two f32 is exact in float64, so
// that fused multiply-adds give the same bits.
const order = "f64.ascending"

func matmulCost(c *devices.Call) float64 {
	k := c.In[0].Len() / max(1, c.Out[0].Rows())
	return float64(c.Out[0].Len()) * float64(k)
}

// linear is x·wᵀ for weights of any float type, four outputs at a time. Weights
// of half precision are widened four rows at a time and used for every row of x.
func linear(threads int) devices.Kernel {
	width := func(c *devices.Call) int {
		if c.In[1].Elem == graph.F32 {
			return 0
		}
		return 4 * align8(c.In[0].Last())
	}
	return devices.Kernel{
		Name: "linear.f64.go", Op: ops.MatMulOp.OpDef, Order: order, Cost: matmulCost,
		Accept: func(c *devices.Call) error {
			if a, ok := c.Attrs.(ops.MatMulAttrs); !ok || a.TA || !a.TB {
				return errors.New("only for x·wᵀ")
			}
			return nil
		},
		Scratch: func(c *devices.Call) int { return threads * width(c) * 4 },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, y, scratch, sw := host.F32(c.In[0]), host.F32(c.Out[0]), f32(c.Scratch), width(c)
			k, n, rows := c.In[0].Last(), c.Out[0].Last(), c.In[0].Rows()
			w := floats{elem: c.In[1].Elem, f32: host.F32(c.In[1]), u16: host.U16(c.In[1])}
			size := (chunk(rows*k) + 3) / 4 * 4
			return host.Parallel(c, (n+size-1)/size, func(task, worker int) {
				tmp := scratch[worker*sw:][:sw]
				for j := task * size; j < min(n, (task+1)*size); j += 4 {
					many := min(4, n-j)
					block := w.slice(j*k, many*k, tmp)
					for i := range rows {
						dots(y[i*n+j:][:many], x[i*k:(i+1)*k], block)
					}
				}
			}), nil
		},
	}
}

// dots computes y[j] = x·w[j] for up to four rows of w.
func dots(y, x, w []float32) {
	k := len(x)
	if len(y) == 4 {
		w0, w1, w2, w3 := w[:k], w[k:][:k], w[2*k:][:k], w[3*k:][:k]
		var s0, s1, s2, s3 float64
		for l, v := range x {
			f := float64(v)
			s0 += f * float64(w0[l])
			s1 += f * float64(w1[l])
			s2 += f * float64(w2[l])
			s3 += f * float64(w3[l])
		}
		y[0], y[1], y[2], y[3] = float32(s0), float32(s1), float32(s2), float32(s3)
		return
	}
	for j := range y {
		var s float64
		for l, v := range w[j*k:][:k] {
			s += float64(x[l]) * float64(v)
		}
		y[j] = float32(s)
	}
}

// floats is memory of a floating-point type that is widened where it is read.
type floats struct {
	elem graph.DType
	f32  []float32
	u16  []uint16
}

// slice returns n elements from at on, widened into tmp if they need it.
func (w *floats) slice(at, n int, tmp []float32) []float32 {
	switch w.elem {
	case graph.BF16:
		tmp = tmp[:n]
		for i, h := range w.u16[at:][:n] {
			tmp[i] = graph.BF16ToF32(h)
		}
		return tmp
	case graph.F16:
		tmp = tmp[:n]
		for i, h := range w.u16[at:][:n] {
			tmp[i] = graph.F16ToF32(h)
		}
		return tmp
	}
	return w.f32[at:][:n]
}

// matmul is the product in every other form: a row of sums grows along the inner
// dimension, so that b is read in order.
func matmul(threads int) devices.Kernel {
	return devices.Kernel{
		Name: "matmul.f64.go", Op: ops.MatMulOp.OpDef, Order: order,
		Cost: func(c *devices.Call) float64 { return 2 * matmulCost(c) },
		Accept: func(c *devices.Call) error {
			if c.In[1].Elem != graph.F32 {
				return errors.New("only for f32")
			}
			return nil
		},
		Scratch: func(c *devices.Call) int { return threads * align8(c.Out[0].Last()) * 8 },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			at, ok := c.Attrs.(ops.MatMulAttrs)
			if !ok {
				return nil, errors.New("attributes of another op")
			}
			a, b, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
			m, n := c.Out[0].Rows(), c.Out[0].Last()
			k := c.In[0].Last()
			ai, al := k, 1
			if at.TA {
				k = c.In[0].Rows()
				ai, al = 1, m
			}
			bl, bj := n, 1
			if at.TB {
				bl, bj = 1, k
			}
			sums, width := f64(c.Scratch), align8(n)
			size := chunk(k * n)
			return host.Parallel(c, (m+size-1)/size, func(task, worker int) {
				s := sums[worker*width:][:n]
				for i := task * size; i < min(m, (task+1)*size); i++ {
					clear(s)
					for l := range k {
						f := float64(a[i*ai+l*al])
						if bj == 1 {
							for j, v := range b[l*bl:][:n] {
								s[j] += f * float64(v)
							}
							continue
						}
						for j := range s {
							s[j] += f * float64(b[l*bl+j*bj])
						}
					}
					for j, v := range s {
						y[i*n+j] = float32(v)
					}
				}
			}), nil
		},
	}
}

// align8 rounds up to whole cache lines of float64.
func align8(n int) int { return (n + 7) &^ 7 }

// f32 views scratch memory.
func f32(o devices.Operand) []float32 {
	o.Elem, o.Dims = graph.F32, []int{o.Len() / 4}
	return host.F32(o)
}

// f64 views scratch memory, which is aligned for every type.
func f64(o devices.Operand) []float64 {
	o.Elem, o.Dims = graph.F64, []int{o.Len() / 8}
	return host.Tensor(o).F64()
}
