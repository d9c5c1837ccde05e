package neon

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// unit is what the table rows of one instruction set share.
type unit struct {
	isa     asm.ISA
	threads int // workers that may call a phase: the size of per-worker scratch
	needs   []devices.Feature
}

func newUnit(isa asm.ISA, threads int, needs ...devices.Feature) *unit {
	return &unit{isa: isa, threads: threads, needs: needs}
}

// threads is how many workers host.New starts for the given option.
func threads(n int) int {
	if n < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// kernels is the whole table.
func (u *unit) kernels() []devices.Kernel {
	ks := append(u.linearKernels(), u.quantKernels()...)
	return append(append(ks, u.normKernels()...), u.headKernels()...)
}

// row completes a table row: its name ends in the instruction set.
func (u *unit) row(k devices.Kernel) devices.Kernel {
	k.Name += "." + u.isa.String()
	k.Needs = u.needs
	if k.Cost == nil {
		k.Cost = bytesCost
	}
	return k
}

// Rates for cost estimates, a nanosecond on one core. They are not measured:
// costs only rank kernels of one op.
const (
	rateBytes = 8 // bytes streamed
	costCall  = 200.0
)

// bytesCost is the time to read operands and write results once.
func bytesCost(c *devices.Call) float64 {
	n := 0
	for _, o := range c.In {
		n += o.Bytes()
	}
	for _, o := range c.Out {
		n += o.Bytes()
	}
	return costCall + float64(n)/rateBytes
}

// taskElements is about how many floats of elementwise work repay handing a task
// to another core.
const taskElements = 16 << 10

// rowChunks splits rows of the given width into tasks of a useful size.
func rowChunks(c *devices.Call, rows, width int, run func(from, to int)) host.Launch {
	return host.Chunks(c, rows, max(1, taskElements/max(width, 1)), run)
}

// scratch hands out parts of a call's temporary memory. Without memory it only
// counts, so that one function states the layout for Kernel.Scratch and Bind.
type scratch struct {
	mem  []byte
	size int
}

// bindScratch is the scratch of a call that is being bound.
func bindScratch(c *devices.Call) *scratch {
	return &scratch{mem: host.Bytes(c.Scratch, c.Scratch.Bytes())}
}

// part is the next n elements, on a cache line of their own; nil when counting.
func part[E int8 | int32 | float32](s *scratch, n int) []E {
	var e E
	from, size := s.size, n*int(unsafe.Sizeof(e))
	s.size += (size + devices.Align - 1) / devices.Align * devices.Align
	if s.mem == nil || n == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&s.mem[from : from+size][0])), n)
}

// parts is one part for each worker.
func parts[E int8 | int32 | float32](s *scratch, workers, n int) [][]E {
	ps := make([][]E, workers)
	for i := range ps {
		ps[i] = part[E](s, n)
	}
	return ps
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func wantElem(o devices.Operand, elem graph.DType) error {
	if o.Elem != elem {
		return fmt.Errorf("it takes %s, not %s", elem, o.Elem)
	}
	return nil
}
