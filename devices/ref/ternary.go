package ref

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/ternary"
)

// ternaryMatMul multiplies codes as they are, four outputs at a time.
func ternaryMatMul() devices.Kernel {
	return devices.Kernel{
		Name: "ternary_matmul.i8.go", Op: ternary.MatMulOp.OpDef,
		Cost: func(c *devices.Call) float64 { return float64(c.In[0].Len()) * float64(c.Out[0].Last()) },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			q, t, y := host.I8(c.In[0]), host.I8(c.In[1]), host.I32(c.Out[0])
			k, n, rows := c.In[0].Last(), c.Out[0].Last(), c.In[0].Rows()
			return host.Chunks(c, n, (chunk(rows*k)+3)/4*4, func(from, to int) {
				for i := range rows {
					ternaryRow(y[i*n:(i+1)*n], q[i*k:(i+1)*k], t, from, to)
				}
			}), nil
		},
	}
}

// ternaryRow computes y[from:to] of one row.
func ternaryRow(y []int32, q, t []int8, from, to int) {
	k := len(q)
	j := from
	for ; j+4 <= to; j += 4 {
		t0, t1, t2, t3 := t[j*k:][:k], t[(j+1)*k:][:k], t[(j+2)*k:][:k], t[(j+3)*k:][:k]
		var s0, s1, s2, s3 int32
		for l, v := range q {
			x := int32(v)
			s0 += x * int32(t0[l])
			s1 += x * int32(t1[l])
			s2 += x * int32(t2[l])
			s3 += x * int32(t3[l])
		}
		y[j], y[j+1], y[j+2], y[j+3] = s0, s1, s2, s3
	}
	for ; j < to; j++ {
		var s int32
		for l, w := range t[j*k:][:k] {
			s += int32(q[l]) * int32(w)
		}
		y[j] = s
	}
}
