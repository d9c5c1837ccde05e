package cuda

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// sumKernels add up whole tensors.
func (d *Device) sumKernels() []devices.Kernel {
	row := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name + ".float", Op: op, Needs: sm80, BF16: op.BF16 != nil, Cost: d.memoryCost,
			Scratch: func(c *devices.Call) int { return partsBytes(c.In[0].Len()) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				n := c.In[0].Len()
				parts := fixedParts(n)
				l, err := d.bind(typed(name, c.In[0]), shape{blocks: parts, threads: 256}, c.In[0], c.Scratch, c.Out[0], int64(n))
				if parts == 1 || err != nil {
					return l, err
				}
				total, err := d.bind("total_parts", shape{blocks: 1, threads: 256}, c.Scratch, c.Out[0], int32(parts))
				return inOrder(err, l, total)
			},
		}
	}
	return []devices.Kernel{row("sum", ops.SumOp.OpDef), row("sqsum", ops.SqSumOp.OpDef)}
}

// maxAxes is the most axes a loop of kernels/train_reduce.cu has.
const maxAxes = 6

// axes are nested loops over two tensors: extents, and the distances between
// neighbours in each (Axes in kernels/train_reduce.cu).
type axes struct {
	n, from, to  []int
	atFrom, atTo int
}

// add appends an inner loop, joined with the last one where both tensors go on
// without a gap.
func (a *axes) add(n, from, to int) {
	if n == 1 {
		return
	}
	if k := len(a.n) - 1; k >= 0 && a.from[k] == n*from && a.to[k] == n*to {
		a.n[k], a.from[k], a.to[k] = a.n[k]*n, from, to
		return
	}
	a.n, a.from, a.to = append(a.n, n), append(a.from, from), append(a.to, to)
}

func (a *axes) count() int {
	n := 1
	for _, m := range a.n {
		n *= m
	}
	return n
}

// value is the kernel's argument.
func (a *axes) value() (blob, error) {
	if len(a.n) > maxAxes {
		return nil, fmt.Errorf("%d axes that cannot be joined; at most %d", len(a.n), maxAxes)
	}
	b := make(blob, 8*(1+3*maxAxes+2))
	put := func(i int, v int) { binary.LittleEndian.PutUint64(b[8*i:], uint64(v)) }
	put(0, len(a.n))
	for i := range a.n {
		put(1+i, a.n[i])
		put(1+maxAxes+i, a.from[i])
		put(1+2*maxAxes+i, a.to[i])
	}
	put(1+3*maxAxes, a.atFrom)
	put(2+3*maxAxes, a.atTo)
	return b, nil
}

// strides are the distances between neighbours of a row-major tensor.
func strides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= dims[i]
	}
	return s
}

// flat loops over a whole tensor.
func flat(x devices.Operand) *axes {
	a := &axes{}
	a.add(x.Len(), 1, 1)
	return a
}

// copyAxes copies elements of any kind.
func (d *Device) copyAxes(x, y devices.Operand, a *axes) (devices.Launch, error) {
	v, err := a.value()
	if err != nil {
		return nil, err
	}
	n := a.count()
	return d.bind("copy_axes_"+strconv.Itoa(8*x.Elem.Size()), d.covering(n), x, y, v, int64(n))
}

// covering is a grid for n elements.
func (d *Device) covering(n int) shape {
	return shape{blocks: max(1, min((n+255)/256, 16*d.info.Multiprocessors)), threads: 256}
}

// sumAxes is y = by·Σ x: out loops over y, in over what is added for each.
func (d *Device) sumAxes(x, y devices.Operand, out, in *axes, by float64) (devices.Launch, error) {
	o, err := out.value()
	if err != nil {
		return nil, err
	}
	i, err := in.value()
	if err != nil {
		return nil, err
	}
	n, m := out.count(), in.count()
	fn, sh := "sum_axes", d.covering(32*n)
	if k := len(out.n) - 1; k >= 0 && out.from[k] == 1 && out.n[k] > 1 {
		fn, sh = "sum_columns", d.covering(n)
	}
	return d.bind(typed(fn, x), sh, x, y, o, i, int64(n), int64(m), by)
}

// loops splits the axes of a broadcast from small to big: those of both and those
// that repeat, as distances in small and big.
func loops(small, big []int) (both, repeat *axes) {
	both, repeat = &axes{}, &axes{}
	s, b := strides(small), strides(big)
	for i := range big {
		if small[i] == big[i] {
			both.add(big[i], b[i], s[i])
		} else {
			repeat.add(big[i], b[i], 0)
		}
	}
	return both, repeat
}

// around splits extents at an axis: the products before it and behind it.
func around(dims []int, axis int) (outer, n, inner int) {
	outer, inner = 1, 1
	for _, v := range dims[:axis] {
		outer *= v
	}
	for _, v := range dims[axis+1:] {
		inner *= v
	}
	return outer, dims[axis], inner
}

// arrayKernels copy and add along axes.
func (d *Device) arrayKernels() []devices.Kernel {
	row := func(name string, op *graph.OpDef, bind func(c *devices.Call) (devices.Launch, error)) devices.Kernel {
		return devices.Kernel{Name: name + ".float", Op: op, Needs: sm80, BF16: true, Cost: d.memoryCost, Bind: bind}
	}
	// part copies x to or from a range of an axis of y.
	part := func(x, y devices.Operand, axis, fromAt, toAt int) (devices.Launch, error) {
		outer, nx, inner := around(x.Dims, axis)
		_, ny, _ := around(y.Dims, axis)
		a := &axes{atFrom: fromAt * inner, atTo: toAt * inner}
		a.add(outer, nx*inner, ny*inner)
		a.add(min(nx, ny)*inner, 1, 1)
		return d.copyAxes(x, y, a)
	}
	return []devices.Kernel{
		row("broadcast", ops.BroadcastOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			x, y := c.In[0], c.Out[0]
			s, b, a := strides(x.Dims), strides(y.Dims), &axes{}
			for i, n := range y.Dims {
				step := s[i]
				if x.Dims[i] != n {
					step = 0
				}
				a.add(n, step, b[i])
			}
			if !c.Attrs.(ops.BroadcastAttrs).Mean {
				return d.copyAxes(x, y, a)
			}
			v, err := a.value()
			if err != nil {
				return nil, err
			}
			return d.bind(typed("scale_axes", x), d.covering(y.Len()), x, y, v, int64(y.Len()), float64(x.Len())/float64(max(1, y.Len())))
		}),
		row("broadcast_grad", ops.BroadcastGradOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			dy, dx := c.In[0], c.Out[0]
			by := 1.0
			if c.Attrs.(ops.BroadcastAttrs).Mean {
				by = float64(dx.Len()) / float64(max(1, dy.Len()))
			}
			both, repeat := loops(dx.Dims, dy.Dims)
			return d.sumAxes(dy, dx, both, repeat, by)
		}),
		row("sum_axis", ops.SumAxisOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			a := c.Attrs.(ops.AxisSumAttrs)
			outer, n, inner := around(c.In[0].Dims, a.Axis)
			out, in := &axes{}, &axes{}
			out.add(outer, n*inner, inner)
			out.add(inner, 1, 1)
			in.add(n, inner, 0)
			by := 1.0
			if a.Mean {
				by = 1 / float64(n)
			}
			return d.sumAxes(c.In[0], c.Out[0], out, in, by)
		}),
		row("transpose", ops.TransposeOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			s, b, a := strides(c.In[0].Dims), strides(c.Out[0].Dims), &axes{}
			for i, word := range strings.Fields(c.Attrs.(ops.TransposeAttrs).Perm) {
				p, err := strconv.Atoi(word)
				if err != nil {
					return nil, fmt.Errorf("transpose: %w", err)
				}
				a.add(c.Out[0].Dims[i], s[p], b[i])
			}
			return d.copyAxes(c.In[0], c.Out[0], a)
		}),
		row("slice", ops.SliceOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			a := c.Attrs.(ops.SliceAttrs)
			return part(c.In[0], c.Out[0], a.Axis, a.From, 0)
		}),
		row("pad", ops.PadOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			a := c.Attrs.(ops.PadAttrs)
			zero, err := d.bind("zero_bytes", d.covering(c.Out[0].Bytes()), c.Out[0], int64(c.Out[0].Bytes()))
			if err != nil {
				return nil, err
			}
			l, err := part(c.In[0], c.Out[0], a.Axis, 0, a.Before)
			return inOrder(err, zero, l)
		}),
		row("concat", ops.ConcatOp.OpDef, func(c *devices.Call) (devices.Launch, error) {
			axis, at := c.Attrs.(ops.AxisAttrs).Axis, 0
			var all []devices.Launch
			for _, x := range c.In {
				l, err := part(x, c.Out[0], axis, 0, at)
				if err != nil {
					return nil, err
				}
				all = append(all, l)
				at += x.Dims[axis]
			}
			return inOrder(nil, all...)
		}),
		{
			Name: "rows.words", Op: ops.RowsOp.OpDef, Needs: sm80, BF16: true, Accept: func(c *devices.Call) error { return rowsFit(c.Out[0]) }, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				n := c.Out[0].Dims[0]
				width := c.Out[0].Len() / max(1, n)
				return d.bindEarly("pick_rows_"+strconv.Itoa(8*c.In[0].Elem.Size()), shape{blocks: n, threads: 256},
					c.In[0], c.In[1], c.Out[0], int32(c.In[0].Dims[0]), int32(width))
			},
		},
	}
}
