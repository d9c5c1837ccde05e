package avx

import (
	"errors"
	"math"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// arrayKernels move and add whole rows of arrays of any rank. Sums are made in
// float64 in the order of the axis, as the references make them, so that their
// bits depend on nothing else.
func (u *unit) arrayKernels() []devices.Kernel {
	row := func(op *graph.OpDef, accept func(*devices.Call) error, bind func(*devices.Call) (devices.Launch, error)) devices.Kernel {
		return u.row(devices.Kernel{Name: op.Name + ".f32", Op: op, Order: "f64.axis", Accept: accept, Bind: bind})
	}
	return []devices.Kernel{
		row(ops.BroadcastOp.OpDef, nil, bindBroadcast),
		row(ops.BroadcastGradOp.OpDef, func(c *devices.Call) error {
			if _, _, _, ok := summed(c); !ok {
				return errors.New("it sums leading axes or trailing axes")
			}
			return nil
		}, func(c *devices.Call) (devices.Launch, error) {
			outer, n, inner, _ := summed(c)
			mean := c.Attrs.(ops.BroadcastAttrs).Mean
			return sumAxis(c, outer, n, inner, mean), nil
		}),
		row(ops.SumAxisOp.OpDef, nil, func(c *devices.Call) (devices.Launch, error) {
			a, d := c.Attrs.(ops.AxisSumAttrs), c.In[0].Dims
			return sumAxis(c, count(d[:a.Axis]), d[a.Axis], count(d[a.Axis+1:]), a.Mean), nil
		}),
		row(ops.TransposeOp.OpDef, func(c *devices.Call) error {
			perm := strings.Fields(c.Attrs.(ops.TransposeAttrs).Perm)
			if r := len(perm); r == 2 || r > 2 && perm[r-1] == string(rune('0'+r-1)) {
				return nil
			}
			return errors.New("it transposes matrices, or axes before the last")
		}, bindTranspose),
	}
}

func count(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// relu is max(x, 0), which compiles to code without a branch.
func relu(y, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = max(v, 0)
	}
}

// reluGrad selects by bits, because a branch on signs is never predicted.
func reluGrad(dx, x, dy []float32) {
	dx, dy = dx[:len(x)], dy[:len(x)]
	for i, v := range x {
		open := uint32(0)
		if v >= 0 {
			open = math.MaxUint32
		}
		dx[i] = math.Float32frombits(math.Float32bits(dy[i]) & open)
	}
}

// bindBroadcast fills y row by row.
func bindBroadcast(c *devices.Call) (devices.Launch, error) {
	x, y := f32(c.In[0]), f32(c.Out[0])
	xd, yd := c.In[0].Dims, c.Out[0].Dims
	d, rank := c.Out[0].Last(), len(yd)
	by := float64(1)
	if c.Attrs.(ops.BroadcastAttrs).Mean && len(y) > 0 {
		by = float64(len(x)) / float64(len(y))
	}
	// strides of x by the axes of y before the last; 0 where it repeats.
	strides := make([]int, max(0, rank-1))
	s := c.In[0].Last()
	for i := rank - 2; i >= 0; i-- {
		if xd[i] > 1 {
			strides[i] = s
		}
		s *= xd[i]
	}
	single := c.In[0].Last() == 1 && d != 1
	return rowChunks(c, c.Out[0].Rows(), d, func(from, to int) {
		for r := from; r < to; r++ {
			at, rest := 0, r
			for i := rank - 2; i >= 0; i-- {
				at += rest % yd[i] * strides[i]
				rest /= yd[i]
			}
			row := y[r*d : (r+1)*d]
			if single {
				v := x[at]
				for j := range row {
					row[j] = v
				}
			} else {
				copy(row, x[at:at+d])
			}
			if by != 1 {
				for j, v := range row {
					row[j] = float32(float64(v) * by)
				}
			}
		}
	}), nil
}

// summed describes a broadcast's gradient as the sum over one axis, if the axes
// that it adds lie together.
func summed(c *devices.Call) (outer, n, inner int, ok bool) {
	dy, dx := c.In[0].Dims, c.Out[0].Dims
	outer, n, inner = 1, 1, 1
	for i, d := range dy {
		switch kept := d == dx[i]; {
		case !kept && inner > 1:
			return 0, 0, 0, false
		case !kept:
			n *= d
		case n > 1:
			inner *= d
		default:
			outer *= d
		}
	}
	return outer, n, inner, true
}

// sumAxis adds the middle one of three axes.
func sumAxis(c *devices.Call, outer, n, inner int, mean bool) host.Launch {
	x, y := f32(c.In[0]), f32(c.Out[0])
	by := 1.0
	if mean {
		by = 1 / float64(n)
	}
	if inner == 1 {
		return rowChunks(c, outer, n, func(from, to int) {
			for o := from; o < to; o++ {
				s := 0.0
				for _, v := range x[o*n : (o+1)*n] {
					s += float64(v)
				}
				y[o] = float32(s * by)
			}
		})
	}
	const block = 64 // columns added at a time, their sums on the stack
	blocks := ceilDiv(inner, block)
	return rowChunks(c, outer*blocks, n*block, func(from, to int) {
		for t := from; t < to; t++ {
			o, j0 := t/blocks, t%blocks*block
			var sums [block]float64
			w := min(block, inner-j0)
			for i := range n {
				for j, v := range x[(o*n+i)*inner+j0:][:w] {
					sums[j] += float64(v)
				}
			}
			for j, s := range sums[:w] {
				y[o*inner+j0+j] = float32(s * by)
			}
		}
	})
}

// bindTranspose copies squares of a matrix, or rows if the last axis stays.
func bindTranspose(c *devices.Call) (devices.Launch, error) {
	x, y := f32(c.In[0]), f32(c.Out[0])
	xd, yd := c.In[0].Dims, c.Out[0].Dims
	if perm := c.Attrs.(ops.TransposeAttrs); len(xd) > 2 {
		order := strings.Fields(perm.Perm)
		strides := make([]int, len(xd)-1)
		for i := range strides {
			strides[i] = count(xd[order[i][0]-'0'+1:])
		}
		d := c.Out[0].Last()
		return rowChunks(c, c.Out[0].Rows(), d, func(from, to int) {
			for r := from; r < to; r++ {
				at, rest := 0, r
				for i := len(strides) - 1; i >= 0; i-- {
					at += rest % yd[i] * strides[i]
					rest /= yd[i]
				}
				copy(y[r*d:(r+1)*d], x[at:at+d])
			}
		}), nil
	} else if !perm.IsMatrix() {
		return rowChunks(c, len(y), 1, func(from, to int) { copy(y[from:to], x[from:to]) }), nil
	}
	rows, cols := xd[0], xd[1]
	const square = 32
	return rowChunks(c, ceilDiv(cols, square), square*rows, func(from, to int) {
		for j0 := from * square; j0 < min(cols, to*square); j0 += square {
			for i0 := 0; i0 < rows; i0 += square {
				for j := j0; j < min(cols, j0+square); j++ {
					out := y[j*rows:]
					for i := i0; i < min(rows, i0+square); i++ {
						out[i] = x[i*cols+j]
					}
				}
			}
		}
	}), nil
}
