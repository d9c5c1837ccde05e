// Package devices is the contract between lowering and the machines that run a
// program. It does not assume a CPU: buffers are opaque, copies are explicit,
// work goes to an ordered queue and may complete later, and a whole step can be
// captured once and replayed (a task list on a CPU, a CUDA graph, a Metal
// command buffer).
//
// A device is a value; nothing registers itself. It offers kernels, each a
// table row saying which op it implements and under what conditions, and
// packed layouts for weights.
package devices

import (
	"context"
	"errors"
	"time"

	"github.com/trit-ml/trit/graph"
)

// Feature names something a machine may have, such as "avx2", "f16c" or
// "sm_80".
type Feature string

// Device is one machine that can run programs. Implementations are safe for
// concurrent use.
type Device interface {
	// Name is short and stable, such as "avx2" or "cuda:0".
	Name() string
	// Has reports whether this machine has the feature, after toggles.
	Has(Feature) bool
	// Kernels lists every kernel of the device, also those whose features this
	// machine lacks, so that choices can be explained for another machine.
	Kernels() []Kernel
	// Layouts lists the packed weight layouts that kernels may ask for.
	Layouts() []Layout
	// Alloc returns zeroed memory, or an error that says how much was asked
	// for and how much there is.
	Alloc(bytes int) (Buffer, error)
	// Wrap returns a read-only buffer over host memory without a copy, if the
	// device can read it directly. The memory must outlive the buffer.
	Wrap(host []byte) (Buffer, bool)
	// NewQueue returns an ordered queue.
	NewQueue() (Queue, error)
}

// Accelerator is a device that is not the host's processor.
type Accelerator interface {
	Device
	// About is the machine in one line: model, memory, driver.
	About() string
	// Libraries says which libraries of others its kernels are joined by, or why
	// none are. It may open them.
	Libraries() string
	// Measure measures what it can do at best, in about a second.
	Measure(context.Context) (Limits, error)
}

// Explainer is a device that can say why it lacks a feature.
type Explainer interface {
	// Why is "" for a feature that it has, and where the name alone says enough.
	Why(Feature) string
}

// Limits is what a machine can do at best, measured. Kernels are judged as
// shares of it.
type Limits struct {
	Threads   int     // of a processor; 0 on an accelerator
	ReadGBs   float64 // of memory, a plain read
	CopyGBs   float64 `json:",omitempty"` // inside memory, bytes read and written
	MACGs     float64 // int8 multiply-adds, in 10⁹ a second
	FMAGFLOPs float64 // float32, bfloat16 on an accelerator; a multiply-add is two, in 10⁹ a second
	ISA       string  // the instruction set measured
}

// Buffer is device memory. What is inside is the device's business.
type Buffer interface {
	Size() int // bytes
	Free() error
}

// Align is the alignment, in bytes, that lowering gives every operand's offset.
const Align = 128

// Queue runs copies and launches in order. Calls may return before the work is
// done; host memory given to Write or Read must stay untouched until Sync. A
// Queue is used by one goroutine at a time.
type Queue interface {
	Write(dst Buffer, off int, src []byte) error
	Read(dst []byte, src Buffer, off int) error
	Copy(dst Buffer, dstOff int, src Buffer, srcOff, bytes int) error
	// Launch runs launches once, in order: for work not worth capturing.
	Launch(launches ...Launch) error
	// Capture prepares a sequence for repeated replay. The buffers bound in it
	// must stay allocated. A launch whose kernel is Aside may be an [Aside].
	Capture(launches []Launch) (Sequence, error)
	// Sync waits until everything queued so far is done, or ctx is cancelled,
	// and returns the first error of the work. After a cancelled Sync the work
	// goes on: host memory stays in use until a later Sync or Close.
	Sync(ctx context.Context) error
	Close() error
}

// Fencer is implemented by queues that have taken what Write is given when it returns,
// and can wait for a part of the work: so the next step can be queued before the results
// of the last are read.
type Fencer interface {
	// NewFence returns a fence that stands nowhere yet.
	NewFence() (Fence, error)
}

// Fence is a place in a queue.
type Fence interface {
	// Set puts the fence behind all that was queued so far. It does not allocate.
	Set() error
	// Wait is Queue.Sync for what is before the fence.
	Wait(ctx context.Context) error
	Free() error
}

// Sequence is a captured list of launches.
type Sequence interface {
	// Replay enqueues the sequence on the queue that captured it. It does not
	// allocate.
	Replay() error
	// Profile runs the sequence once with a measurement around each launch and
	// waits for it.
	Profile() ([]time.Duration, error)
	Free() error
}

// Launch is one bound kernel call, made by Kernel.Bind and understood only by
// the queues of the same device.
type Launch any

// Aside is a launch of a captured sequence that runs beside those that follow it,
// up to the one of index Until (or the end), which waits for it. Until then
// nothing else touches its operands and results.
type Aside struct {
	Launch Launch
	Until  int
}

// Skipper is implemented by launches that may leave weights unread, because what
// they would be multiplied with is zero.
type Skipper interface {
	// Skipped is the bytes of weights that the last run left unread.
	Skipped() int
}

// Operand is one operand or result of a call. While a kernel is chosen, Buf is
// nil; when it is bound, the operand lies at Off in Buf.
type Operand struct {
	Elem   graph.DType
	Dims   []int // concrete extents
	Layout graph.Layout
	Buf    Buffer
	Off    int // bytes, a multiple of Align
}

// Len is the number of elements.
func (o Operand) Len() int {
	n := 1
	for _, d := range o.Dims {
		n *= d
	}
	return n
}

// Bytes is the operand's size in the plain row-major layout.
func (o Operand) Bytes() int { return o.Len() * o.Elem.Size() }

// Last is the innermost extent, 1 for a scalar.
func (o Operand) Last() int {
	if len(o.Dims) == 0 {
		return 1
	}
	return o.Dims[len(o.Dims)-1]
}

// Rows is the product of all extents but the innermost.
func (o Operand) Rows() int {
	n := 1
	for i := 0; i+1 < len(o.Dims); i++ {
		n *= o.Dims[i]
	}
	return n
}

// Call is one node with concrete extents, for which a kernel is chosen and
// bound.
type Call struct {
	Op      *graph.OpDef
	Attrs   any
	In, Out []Operand
	Scratch Operand // u8, Kernel.Scratch bytes, only when binding
	Where   string  // position and scope, for messages
}

// Kernel is one implementation of one op: a row of a device's table.
type Kernel struct {
	// Name says everything: op, shape family, data types, instruction set,
	// such as "ternary_matmul.i2x8.avx2".
	Name string
	// Op is the op implemented; nil is a fallback for every op that has a
	// reference implementation.
	Op *graph.OpDef
	// Needs lists the features without which the kernel cannot run.
	Needs []Feature
	// Accept returns nil, or why the kernel does not fit the call's extents,
	// element types and attributes. A nil Accept takes everything.
	Accept func(*Call) error
	// BF16 says that the kernel also takes calls in bf16 (see graph.Narrow), as
	// far as Accept allows; without it they do not reach Accept.
	BF16 bool
	// Layouts gives the layout required of each operand, by operand index;
	// operands beyond its length are plain. Only operands that are computed
	// once at load (weights) may ask for a packed layout.
	Layouts []graph.Layout
	// Order names the kernel's reduction order. Kernels of one op with the same
	// Order give bit-identical rows at every extent and thread count, so
	// lowering may mix them between plans; an empty Order is the kernel's own.
	Order string
	// Cost estimates the call in nanoseconds, for choosing only.
	Cost func(*Call) float64
	// Scratch is the bytes of temporary memory the call needs; nil is none.
	Scratch func(*Call) int
	// InPlace lists the pairs of operand and result that may share memory,
	// beside those that the op itself updates.
	InPlace []graph.Update
	// Aside says that launches run on an engine of their own, such as the links
	// between GPUs, beside those of other kernels: lowering captures them as
	// [Aside].
	Aside bool
	// Skips says that launches are Skippers: how much they read depends on data.
	Skips bool
	// Bind makes the launch. It may do everything that need not be repeated.
	Bind func(*Call) (Launch, error)
}

// Fit returns nil, or why the kernel does not take the call.
func (k *Kernel) Fit(c *Call) error {
	if !k.BF16 && len(c.In) > 0 && c.Op.InBF16(func(i int) graph.DType { return c.In[min(i, len(c.In)-1)].Elem }) {
		return errors.New("it computes in f32, the operands are bf16")
	}
	if k.Accept != nil {
		return k.Accept(c)
	}
	return nil
}

// Layout is a packed form of a row-major tensor.
type Layout struct {
	Name graph.Layout
	Elem graph.DType
	// Bytes is the packed size for the given extents.
	Bytes func(dims []int) int
	// Pack makes the launch that packs the plain operand in into out, which has
	// this layout.
	Pack func(in, out Operand) (Launch, error)
}
