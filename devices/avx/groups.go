package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/ternary"
)

// groupKernels are the quantizers and the products of weights that have a scale for
// each group along a row. Groups of whole blocks use the kernels of matrices, packed
// at load or, in training, made into panels by each call; others bytes.
func (u *unit) groupKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "ternary.fake.groups", Op: ternary.FakeOp.OpDef, Order: "sum64",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Accept:  grouped,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				w, y := f32(c.In[0]), f32(c.Out[0])
				return u.eachGroup(c, func(_, from, to int) {
					s := ternary.InverseScale(w[from:to])
					u.isa.FakeQuantTernary(y[from:to], w[from:to], s, 1/s)
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "ternary.quantize.groups", Op: ternary.QuantizeOp.OpDef, Order: "sum64",
			Accept: grouped,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				w, codes, gamma := f32(c.In[0]), host.I8(c.Out[0]), f32(c.Out[1])
				return u.eachGroup(c, func(g, from, to int) {
					s := ternary.InverseScale(w[from:to])
					u.isa.QuantizeTernary(codes[from:to], w[from:to], s)
					gamma[g] = 1 / s
				}), nil
			},
		}),
		u.groupRow(ternaryLayout),
		u.groupRow(""),
		u.row(devices.Kernel{
			Name: "ternary.group_matmul.i8", Op: ternary.GroupMatMulOp.OpDef, Order: "groups",
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				parts[int32](s, u.threads, groupTokens*groupRows)
				return s.size
			},
			Cost: func(c *devices.Call) float64 {
				return costCall + float64(first(c.In[0]))*float64(c.In[2].Len())/30
			},
			Bind: u.bindGroupMatMul,
		}),
	}
}

// grouped accepts f32 weights with groups; wholeMatrix weights without.
func grouped(c *devices.Call) error {
	if c.Attrs.(ternary.ScaleAttrs).Group == 0 {
		return fmt.Errorf("it takes a scale for each group, not one for the matrix")
	}
	return wantElem(c.In[0], graph.F32)
}

func wholeMatrix(c *devices.Call) error {
	if g := c.Attrs.(ternary.ScaleAttrs).Group; g != 0 {
		return fmt.Errorf("it takes one scale for the matrix, not one for each %d weights", g)
	}
	return nil
}

// eachGroup calls f for group g, which lies at from to to, each task some rows.
func (u *unit) eachGroup(c *devices.Call, f func(g, from, to int)) devices.Launch {
	k, size := c.In[0].Last(), c.Attrs.(ternary.ScaleAttrs).Group
	return rowChunks(c, c.In[0].Rows(), k, func(first, end int) {
		for from := first * k; from < end*k; from += size {
			f(from/size, from, from+size)
		}
	})
}

// A task of the product covers groupRows rows of the weights; it takes
// groupTokens tokens at a time, so that their sums stay in the nearest cache.
const (
	groupRows   = 64
	groupTokens = 16
)

func (u *unit) bindGroupMatMul(c *devices.Call) (devices.Launch, error) {
	q, s, t, gamma, y := host.I8(c.In[0]), f32(c.In[1]), host.I8(c.In[2]), f32(c.In[3]), f32(c.Out[0])
	m, k, n, groups := c.In[0].Rows(), c.In[0].Last(), c.In[2].Rows(), c.In[3].Last()
	size := k / groups
	accs := parts[int32](bindScratch(c), u.threads, groupTokens*groupRows)
	return host.Parallel(c, ceilDiv(n, groupRows), func(task, worker int) {
		acc, row := accs[worker], task*groupRows
		rows := min(groupRows, n-row)
		for from := 0; from < m; from += groupTokens {
			tokens := min(groupTokens, m-from)
			for i := from; i < from+tokens; i++ {
				clear(y[i*n+row:][:rows])
			}
			for g := range groups {
				u.isa.DotI8(acc, groupRows, t[row*k+g*size:], k, q[from*k+g*size:], k, rows, tokens, size)
				for i := range tokens {
					out := y[(from+i)*n+row:][:rows]
					for j, a := range acc[i*groupRows:][:rows] {
						out[j] += float32(float32(a) * gamma[(row+j)*groups+g])
					}
				}
			}
			for i := from; i < from+tokens; i++ {
				out := y[i*n+row:][:rows]
				for j, v := range out {
					out[j] = v / s[i]
				}
			}
		}
	}), nil
}
