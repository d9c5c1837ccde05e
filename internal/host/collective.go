package host

import (
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
)

// joined is a device with kernels for collective ops.
type joined struct {
	*Device
	kernels []devices.Kernel
}

func (d joined) Kernels() []devices.Kernel { return d.kernels }

// Leave implements devices.Member.
func (d joined) Leave() error { return nil }

// Join implements devices.Joiner.
func (d *Device) Join(c devices.Communicator) devices.Member {
	j := ring{c}
	rows := []devices.Kernel{
		j.kernel("all_reduce", collective.AllReduceOp.OpDef, j.allReduce),
		j.kernel("all_reduce.in_place", collective.AllReduceInPlaceOp.OpDef, j.allReduce),
		j.kernel("reduce_scatter", collective.ReduceScatterOp.OpDef, j.reduceScatter),
		j.kernel("all_gather", collective.AllGatherOp.OpDef, j.allGather),
		j.kernel("gather_columns", collective.GatherColumnsOp.OpDef, j.gatherColumns),
	}
	rows[0].InPlace = []graph.Update{{In: 0, Out: 0}}
	return &joined{d, append(rows, d.Kernels()...)}
}

// ring binds calls to a communicator.
type ring struct{ c devices.Communicator }

// block is how many elements of each rank's part are exchanged at once: it
// bounds the scratch, and 4-byte counts of message-passing libraries.
const block = 1 << 18

// small is the most elements for which every rank sends all of its own to every
// other and adds for itself: one exchange instead of two.
const small = 1 << 10

func (j ring) kernel(name string, op *graph.OpDef, run func(e *exchange) error) devices.Kernel {
	return devices.Kernel{
		Name: name + ".host", Op: op, Order: "ranks",
		Accept: func(c *devices.Call) error {
			return collective.Fit(c.Attrs, j.c.Rank(), j.c.Size())
		},
		Scratch: func(c *devices.Call) int {
			if op == collective.AllGatherOp.OpDef || j.c.Size() == 1 {
				return 0
			}
			n, size := c.In[0].Len(), j.c.Size()
			if op == collective.GatherColumnsOp.OpDef {
				return 4 * size * n
			}
			return 4 * size * max(min(n, small), min(ops.PartSize(n, size), block))
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			e := j.exchange(F32(c.In[0]), F32(c.Out[0]))
			e.row = c.In[0].Last()
			if b := U8(c.Scratch); len(b) > 0 {
				e.scratch = unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
			}
			return Serial(c, func() {
				if err := run(e); err != nil {
					Fail(err)
				}
			}), nil
		},
	}
}

func bytesOf(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}

// exchange is a bound call: its memory, and where the ranks' parts lie in it,
// in bytes, for each block.
type exchange struct {
	x, y, scratch []float32
	row           int     // length of a row of x
	from, to      int     // of this rank's part
	at, size      [][]int // by block, then by rank
	each          []int   // where whole copies lie, one after the other
	whole         []int
}

func (j ring) exchange(x, y []float32) *exchange {
	ranks, n := j.c.Size(), len(x)
	e := &exchange{x: x, y: y}
	e.from, e.to = ops.PartBounds(n, j.c.Rank(), ranks)
	for skip := 0; skip < ops.PartSize(n, ranks); skip += block {
		at, size := make([]int, ranks), make([]int, ranks)
		for r := range ranks {
			from, to := ops.PartBounds(n, r, ranks)
			from = min(to, from+skip)
			at[r], size[r] = 4*from, 4*(min(to, from+block)-from)
		}
		e.at, e.size = append(e.at, at), append(e.size, size)
	}
	for r := range ranks {
		e.each, e.whole = append(e.each, 4*n*r), append(e.whole, 4*n)
	}
	return e
}

// sum sets y to the sum of parts, which lie one after the other, in order.
func sum(y, parts []float32) {
	n := len(y)
	if n == 0 {
		return
	}
	copy(y, parts[:n])
	for parts = parts[n:]; len(parts) > 0; parts = parts[n:] {
		for i, v := range parts[:n] {
			y[i] += v
		}
	}
}

func (j ring) allReduce(e *exchange) error {
	n, rank := len(e.x), j.c.Rank()
	if j.c.Size() == 1 {
		copy(e.y, e.x)
		return nil
	}
	if n <= small {
		all := e.scratch[:n*j.c.Size()]
		copy(all[n*rank:], e.x)
		if err := j.c.AllGather(bytesOf(all), e.each, e.whole); err != nil {
			return err
		}
		sum(e.y, all)
		return nil
	}
	for i, at := range e.at {
		// x may be y: what a block overwrites has been sent.
		mine := e.y[at[rank]/4:][:e.size[i][rank]/4]
		if err := j.reduce(e, i, mine); err != nil {
			return err
		}
		if err := j.c.AllGather(bytesOf(e.y), at, e.size[i]); err != nil {
			return err
		}
	}
	return nil
}

func (j ring) reduceScatter(e *exchange) error {
	if j.c.Size() == 1 {
		copy(e.y, e.x)
		return nil
	}
	clear(e.y[e.to-e.from:])
	for i := range e.at {
		mine := e.y[min(i*block, e.to-e.from):]
		if err := j.reduce(e, i, mine[:e.size[i][j.c.Rank()]/4]); err != nil {
			return err
		}
	}
	return nil
}

// reduce sets mine to block i of this rank's part of the sum.
func (j ring) reduce(e *exchange, i int, mine []float32) error {
	parts := e.scratch[:len(mine)*j.c.Size()]
	if err := j.c.AllToAll(bytesOf(parts), bytesOf(e.x), e.at[i], e.size[i]); err != nil {
		return err
	}
	sum(mine, parts)
	return nil
}

func (j ring) allGather(e *exchange) error {
	if j.c.Size() == 1 {
		return nil
	}
	for i, at := range e.at {
		if err := j.c.AllGather(bytesOf(e.x), at, e.size[i]); err != nil {
			return err
		}
	}
	return nil
}

func (j ring) gatherColumns(e *exchange) error {
	n, size := len(e.x), j.c.Size()
	if size == 1 {
		copy(e.y, e.x)
		return nil
	}
	copy(e.scratch[n*j.c.Rank():], e.x)
	if err := j.c.AllGather(bytesOf(e.scratch[:n*size]), e.each, e.whole); err != nil {
		return err
	}
	for r := range size {
		for i := 0; i < n; i += e.row {
			copy(e.y[i*size+r*e.row:], e.scratch[n*r+i:][:e.row])
		}
	}
	return nil
}
