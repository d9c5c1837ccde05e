package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/devices/cuda/internal/nccl"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
)

// exchange is a bound call of NCCL.
type exchange struct {
	m    *member
	name string
	run  func(s driver.Stream) error
}

func (w *exchange) device() *Device { return w.m.Device }

func (w *exchange) enqueue(s driver.Stream) error {
	if err := w.m.call(func() error { return w.run(s) }); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

// together queues works that do not depend on each other; exchanges become one
// launch.
func together(works []work, s driver.Stream) error {
	all := func() error {
		for _, w := range works {
			if err := w.enqueue(s); err != nil {
				return err
			}
		}
		return nil
	}
	if x, ok := works[0].(*exchange); ok && len(works) > 1 {
		return x.m.call(func() error { return x.m.api.Group(all) })
	}
	return all()
}

// linkLatency and linkBandwidth are of NVLink between two GPUs, for estimates.
const (
	linkLatency   = 10e3 // nanoseconds
	linkBandwidth = 200  // bytes a nanosecond
)

// collectiveKernels lists the collectives over NCCL.
func (m *member) collectiveKernels() []devices.Kernel {
	type bound struct {
		x, y       driver.Ptr
		n          int // elements of the whole
		from, to   int // of this rank's part
		rank, size int
	}
	part := func(b bound, r int) (at driver.Ptr, n int) {
		from, to := ops.PartBounds(b.n, r, b.size)
		return driver.Ptr(4 * from), to - from
	}
	row := func(name string, op *graph.OpDef, run func(b bound, s driver.Stream) error) devices.Kernel {
		return devices.Kernel{
			Name: name + ".nccl", Op: op, Needs: sm80, Aside: true,
			Accept: func(c *devices.Call) error { return collective.Fit(c.Attrs, m.c.Rank(), m.c.Size()) },
			Cost: func(c *devices.Call) float64 {
				return linkLatency + float64(c.In[0].Bytes())/linkBandwidth
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				b := bound{n: c.In[0].Len(), rank: m.c.Rank(), size: m.c.Size()}
				b.from, b.to = ops.PartBounds(b.n, b.rank, b.size)
				var err error
				if b.x, err = m.span(c.In[0].Buf, c.In[0].Off, c.In[0].Bytes()); err != nil {
					return nil, err
				}
				if b.y, err = m.span(c.Out[0].Buf, c.Out[0].Off, c.Out[0].Bytes()); err != nil {
					return nil, err
				}
				return &exchange{m: m, name: name, run: func(s driver.Stream) error { return run(b, s) }}, nil
			},
		}
	}
	allReduce := func(b bound, s driver.Stream) error {
		return m.comm.AllReduce(b.x, b.y, b.n, nccl.Float32, nccl.Sum, s)
	}
	rows := []devices.Kernel{
		row("all_reduce", collective.AllReduceOp.OpDef, allReduce),
		row("all_reduce.in_place", collective.AllReduceInPlaceOp.OpDef, allReduce),
		row("reduce_scatter", collective.ReduceScatterOp.OpDef, func(b bound, s driver.Stream) error {
			if b.n%b.size == 0 {
				return m.comm.ReduceScatter(b.x, b.y, b.n/b.size, nccl.Float32, nccl.Sum, s)
			}
			// Parts of unequal size: a reduction for each rank.
			if pad := ops.PartSize(b.n, b.size) - (b.to - b.from); pad > 0 {
				if err := m.Device.api.Zero(b.y+driver.Ptr(4*(b.to-b.from)), 4*pad, s); err != nil {
					return err
				}
			}
			return m.api.Group(func() error {
				for r := range b.size {
					at, n := part(b, r)
					if n == 0 {
						continue
					}
					if err := m.comm.Reduce(b.x+at, b.y, n, nccl.Float32, nccl.Sum, r, s); err != nil {
						return err
					}
				}
				return nil
			})
		}),
		row("all_gather", collective.AllGatherOp.OpDef, func(b bound, s driver.Stream) error {
			own, _ := part(b, b.rank)
			if b.n%b.size == 0 {
				return m.comm.AllGather(b.x+own, b.x, b.n/b.size, nccl.Float32, s)
			}
			return m.api.Group(func() error {
				for r := range b.size {
					at, n := part(b, r)
					if n == 0 {
						continue
					}
					if err := m.comm.Broadcast(b.x+at, b.x+at, n, nccl.Float32, r, s); err != nil {
						return err
					}
				}
				return nil
			})
		}),
	}
	rows[0].InPlace = []graph.Update{{In: 0, Out: 0}}
	return append(rows, m.gatherColumns())
}

// gatherColumns puts parts of rows together. A single row needs no more than the
// library does; of several each rank's part is gathered first.
func (m *member) gatherColumns() devices.Kernel {
	scratch := func(c *devices.Call) int {
		if c.In[0].Rows() == 1 {
			return 0
		}
		return c.Out[0].Bytes()
	}
	return devices.Kernel{
		Name: "gather_columns.nccl", Op: collective.GatherColumnsOp.OpDef, Needs: sm80,
		Accept:  func(c *devices.Call) error { return collective.Fit(c.Attrs, m.c.Rank(), m.c.Size()) },
		Scratch: scratch,
		Cost: func(c *devices.Call) float64 {
			return linkLatency + float64(c.Out[0].Bytes())/linkBandwidth + m.memoryCost(c)
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			n := c.In[0].Len()
			x, err := m.span(c.In[0].Buf, c.In[0].Off, c.In[0].Bytes())
			if err != nil {
				return nil, err
			}
			to := c.Out[0]
			if scratch(c) > 0 {
				to = c.Scratch
			}
			y, err := m.span(to.Buf, to.Off, c.Out[0].Bytes())
			if err != nil {
				return nil, err
			}
			gather := &exchange{m: m, name: "gather_columns", run: func(s driver.Stream) error {
				return m.comm.AllGather(x, y, n, nccl.Float32, s)
			}}
			if scratch(c) == 0 {
				return gather, nil
			}
			order, err := m.bind("gather_columns", shape{blocks: c.In[0].Rows(), tiles: m.c.Size(), threads: 256}, c.Scratch, c.Out[0], int32(c.In[0].Last()))
			if err != nil {
				return nil, err
			}
			return several{gather, order.(work)}, nil
		},
	}
}
