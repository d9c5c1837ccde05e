package cuda

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// work is what a queue runs: a kernel call, several in order, or a library's.
type work interface {
	// enqueue puts the work on s; the caller has the context current.
	enqueue(s driver.Stream) error
	device() *Device
}

// several works run in order as one launch. There is at least one.
type several []work

func (w several) device() *Device { return w[0].device() }

func (w several) enqueue(s driver.Stream) error {
	for _, l := range w {
		if err := l.enqueue(s); err != nil {
			return err
		}
	}
	return nil
}

// launch is one bound kernel call. The driver copies the parameters while it is
// enqueued or captured.
type launch struct {
	d           *Device
	name        string
	fn          driver.Function
	grid, block driver.Dim
	shared      uint32
	params      *params
	early       bool     // it may start before the launch before it is done
	memory      []extent // that it was given
	eager       *eager   // nil if it always waits for the launches before it
}

// extent is device memory from an address to another.
type extent struct{ from, to uint64 }

func (e extent) meets(x extent) bool { return e.from < x.to && x.from < e.to }

// eager is what a launch reads before the launches before it are done, if its last
// parameter is 1, and what it writes.
type eager struct{ reads, writes []extent }

// hasten returns the launches with those eager that may be: none before them writes what
// they read, as far as is known.
func hasten(list []work) []work {
	out := make([]work, len(list))
	var before []extent
	known := true
	var note func(w work)
	note = func(w work) {
		switch w := w.(type) {
		case *launch:
			if w.eager != nil {
				before = append(before, w.eager.writes...)
			} else {
				before = append(before, w.memory...)
			}
			known = known && len(w.params.blobs) == 0 // they may hold addresses
		case several:
			for _, x := range w {
				note(x)
			}
		default:
			known = false
		}
	}
	for i, w := range list {
		out[i] = w
		if l, ok := w.(*launch); ok && l.eager != nil && known && !slices.ContainsFunc(l.eager.reads, func(r extent) bool {
			return slices.ContainsFunc(before, r.meets)
		}) {
			out[i] = l.hastened()
		}
		note(w)
	}
	return out
}

// hastened is the launch with 1 for its last parameter.
func (l *launch) hastened() *launch {
	fast := *l
	fast.params = &params{blobs: l.params.blobs}
	for i := range l.params.n {
		fast.params.add(l.params.types[i], l.params.vals[i])
	}
	fast.params.vals[l.params.n-1] = 1
	return &fast
}

// maxParams is more than any kernel has.
const maxParams = 32

// params holds parameter values and the pointers to them that the driver
// wants. It must not be copied.
type params struct {
	n     int
	types [maxParams]string // as PTX names them
	vals  [maxParams]uint64
	ptrs  [maxParams]unsafe.Pointer
	blobs [][]uint64 // of structs
}

// blob is the bytes of a struct that a kernel takes by value, a multiple of 4.
type blob []byte

// addBlob adds a struct, in memory that is aligned for all that it may hold.
func (p *params) addBlob(b blob) {
	mem := make([]uint64, (len(b)+7)/8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&mem[0])), 8*len(mem)), b)
	p.blobs = append(p.blobs, mem)
	p.types[p.n] = fmt.Sprintf("b8[%d]", len(b))
	p.ptrs[p.n] = unsafe.Pointer(&mem[0])
	p.n++
}

func (p *params) add(typ string, v uint64) {
	p.types[p.n] = typ
	p.vals[p.n] = v
	p.ptrs[p.n] = unsafe.Pointer(&p.vals[p.n])
	p.n++
}

func (l *launch) device() *Device { return l.d }

func (l *launch) enqueue(s driver.Stream) error {
	if l.grid.X == 0 || l.grid.Y == 0 || l.grid.Z == 0 {
		return nil // nothing to compute
	}
	start := l.d.api.LaunchKernel
	if l.early {
		start = l.d.api.LaunchKernelEarly
	}
	if err := start(l.fn, l.grid, l.block, l.shared, s, &l.params.ptrs[0]); err != nil {
		return fmt.Errorf("kernel %s: %w", l.name, err)
	}
	return nil
}

// shape is a kernel's grid and block and its dynamic shared memory.
type shape struct {
	blocks, tiles int // the grid's x and y extents; no tiles are one
	layers        int // the z extent, likewise
	threads       int
	shared        int // bytes
}

// bind makes a launch of the module's kernel fn. An argument is an Operand (its
// address), int32, int64, float32, float64 or a blob, as the kernel declares them.
func (d *Device) bind(fn string, sh shape, args ...any) (devices.Launch, error) {
	l := &launch{
		d: d, name: fn, params: &params{},
		grid:   driver.Dim{X: uint32(sh.blocks), Y: uint32(max(sh.tiles, 1)), Z: uint32(max(sh.layers, 1))},
		block:  driver.Dim{X: uint32(sh.threads), Y: 1, Z: 1},
		shared: uint32(sh.shared),
	}
	for i, a := range args {
		switch a := a.(type) {
		case devices.Operand:
			p, err := d.span(a.Buf, a.Off, d.bytes(a))
			if err != nil {
				return nil, fmt.Errorf("kernel %s, argument %d: %w", fn, i, err)
			}
			l.params.add("u64", uint64(p))
			l.memory = append(l.memory, extent{uint64(p), uint64(p) + uint64(d.bytes(a))})
		case int32:
			l.params.add("u32", uint64(uint32(a)))
		case int64:
			l.params.add("u64", uint64(a))
		case float32:
			l.params.add("f32", uint64(math.Float32bits(a)))
		case float64:
			l.params.add("f64", math.Float64bits(a))
		case blob:
			l.params.addBlob(a)
		default:
			return nil, fmt.Errorf("kernel %s, argument %d: unexpected %T", fn, i, a)
		}
	}
	var err error
	l.fn, err = d.function(fn, sh.shared)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// earlyForm ends the names of kernels that may start early.
const earlyForm = "_sm90"

// bindEarly is bind for a kernel of a file that has an _sm90 form. There it starts
// while the kernel before it ends, and waits itself for what it reads.
func (d *Device) bindEarly(fn string, sh shape, args ...any) (devices.Launch, error) {
	if !d.Has(sm90a) {
		return d.bind(fn, sh, args...)
	}
	l, err := d.bind(fn+earlyForm, sh, args...)
	if err == nil {
		l.(*launch).early = true
	}
	return l, err
}

// bytes is the memory an operand takes in its layout.
func (d *Device) bytes(o devices.Operand) int {
	for _, l := range d.layouts {
		if l.Name == o.Layout {
			return l.Bytes(o.Dims)
		}
	}
	return o.Bytes()
}
