package avx

import (
	"runtime"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/host"
)

// unit is what the table rows of one instruction set share.
type unit struct {
	isa     asm.ISA
	threads int // workers that may call a phase: the size of per-worker scratch
	needs   []devices.Feature
	angles  *angles
}

// threads is how many workers host.New starts for the given option.
func threads(n int) int {
	if n < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// kernels is the whole table, for an instruction set with everything.
func (u *unit) kernels() []devices.Kernel {
	var ks []devices.Kernel
	for _, rows := range [][]devices.Kernel{
		u.linearKernels(), u.quantKernels(), u.groupKernels(), u.sparseKernels(), u.normKernels(), u.ropeKernels(),
		u.cacheKernels(), u.attendKernels(), u.headKernels(), u.lookupKernels(), u.elementwiseKernels(),
		u.softmaxKernels(), u.screenKernels(), u.gemmKernels(), u.attentionKernels(), u.lossKernels(), u.distillKernels(), u.optimizerKernels(),
	} {
		ks = append(ks, rows...)
	}
	return ks
}

// productKernels are the rows whose tiles multiply ternary weights.
func (u *unit) productKernels() []devices.Kernel {
	return append(u.linearKernels(), u.sparseKernels()...)
}

// wideKernels are the rows that gain from AVX-512; the others run their AVX2
// form on every machine.
func (u *unit) wideKernels() []devices.Kernel {
	ks := append(u.productKernels(), u.gemmKernels()...)
	ks = append(ks, u.attendKernels()...)
	ks = append(ks, u.screenKernels()...)
	return append(ks, u.attentionKernels()...)
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

// Rates for cost estimates, in units a nanosecond on one core. Costs only rank
// kernels of one op, so what matters is the ratio.
const (
	rateBytes = 12 // bytes streamed
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
// to another core: some microseconds.
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
func part[E any](s *scratch, n int) []E {
	var e E
	from := s.size
	s.size += (n*int(unsafe.Sizeof(e)) + devices.Align - 1) / devices.Align * devices.Align
	if s.mem == nil || n == 0 {
		return nil
	}
	return view[E](s.mem[from:], n)
}

// parts is one part for each worker.
func parts[E any](s *scratch, workers, n int) [][]E {
	ps := make([][]E, workers)
	for i := range ps {
		ps[i] = part[E](s, n)
	}
	return ps
}

// view reinterprets the first bytes of b, aligned by construction, as n elements.
func view[E any](b []byte, n int) []E {
	if n == 0 {
		return nil
	}
	var e E
	b = b[:n*int(unsafe.Sizeof(e))]
	return unsafe.Slice((*E)(unsafe.Pointer(&b[0])), n)
}

// f32 is the elements of an f32 operand; nil for another type.
func f32(o devices.Operand) []float32 { return host.F32(o) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// first returns the first dimension, 1 for a scalar.
func first(o devices.Operand) int {
	if len(o.Dims) == 0 {
		return 1
	}
	return o.Dims[0]
}
