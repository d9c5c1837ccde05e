package gorgonia

import (
	"context"
	"fmt"
	"sync"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// kernels runs single ops on the processor, on memory where it lies: what
// Gorgonia's machines call one op at a time.
type kernels struct {
	mu      sync.Mutex // one call at a time: the device's workers are shared
	reg     *devices.Registry
	queue   devices.Queue
	scratch *host.Buffer
	chosen  map[callKey]devices.Kernel
}

// callKey is what the choice of a kernel depends on. Operands of more axes are
// not remembered.
type callKey struct {
	op    *graph.OpDef
	attrs any
	dims  [8]int
}

// shared is the device that all ops and engines use. Its workers live as long as
// the process.
var shared = sync.OnceValues(func() (*kernels, error) {
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	return newKernels(dev)
})

func newKernels(dev devices.Device) (*kernels, error) {
	q, err := dev.NewQueue()
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	return &kernels{reg: devices.NewRegistry(dev), queue: q, scratch: host.Wrap(nil), chosen: map[callKey]devices.Kernel{}}, nil
}

// run computes op. Results are written where the out tensors lie, which have the
// right types and overlap no operand.
func (k *kernels) run(op *graph.OpDef, attrs any, in, out []graph.Tensor) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &devices.Call{Op: op, Attrs: attrs, In: operands(in), Out: operands(out), Where: "gorgonia: " + op.Name}
	kernel, err := k.choose(c)
	if err != nil {
		return err
	}
	if kernel.Scratch != nil {
		if n := kernel.Scratch(c); n > 0 {
			if k.scratch.Size() < n {
				if err := k.grow(n); err != nil {
					return fmt.Errorf("%s: %w", c.Where, err)
				}
			}
			c.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{n}, Buf: k.scratch}
		}
	}
	launch, err := kernel.Bind(c)
	if err != nil {
		return fmt.Errorf("%s: bind %s: %w", c.Where, kernel.Name, err)
	}
	if err := k.queue.Launch(launch); err != nil {
		return fmt.Errorf("%s: %w", c.Where, err)
	}
	return k.queue.Sync(context.Background())
}

// grow replaces the scratch memory by n bytes.
func (k *kernels) grow(n int) error {
	if err := k.scratch.Free(); err != nil {
		return err
	}
	b, err := host.Alloc(n)
	if err == nil {
		k.scratch = b
	}
	return err
}

// choose returns the cheapest kernel that takes plain operands.
func (k *kernels) choose(c *devices.Call) (devices.Kernel, error) {
	key, ok := newCallKey(c)
	if ok {
		if kernel, ok := k.chosen[key]; ok {
			return kernel, nil
		}
	}
	found, rejections := k.reg.Candidates(c)
	for _, f := range found {
		plain := true
		for _, l := range f.Kernel.Layouts {
			plain = plain && l == ""
		}
		if plain {
			if ok && len(k.chosen) < 1024 {
				k.chosen[key] = f.Kernel
			}
			return f.Kernel, nil
		}
	}
	return devices.Kernel{}, &devices.NoKernelError{Device: "of gorgonia's ops", Op: c.Op.Name, Where: c.Where, Rejections: rejections}
}

func newCallKey(c *devices.Call) (callKey, bool) {
	key := callKey{op: c.Op, attrs: c.Attrs}
	i := 0
	for _, os := range [][]devices.Operand{c.In, c.Out} {
		for _, o := range os {
			if i+len(o.Dims)+1 > len(key.dims) {
				return key, false
			}
			key.dims[i] = -1 - len(o.Dims)
			i += 1 + copy(key.dims[i+1:], o.Dims)
		}
	}
	return key, true
}

func operands(ts []graph.Tensor) []devices.Operand {
	os := make([]devices.Operand, len(ts))
	for i, t := range ts {
		os[i] = devices.Operand{Elem: t.Elem, Dims: t.Dims, Buf: host.Wrap(t.Data)}
	}
	return os
}

// memoryPool recycles the memory of temporary tensors.
var memoryPool sync.Pool // of *graph.Tensor

// temporary returns an f32 tensor with undefined elements, and the function that
// gives it back.
func temporary(dims ...int) (t graph.Tensor, free func()) {
	n := 4
	for _, d := range dims {
		n *= d
	}
	m, _ := memoryPool.Get().(*graph.Tensor)
	if m == nil || len(m.Data) < n {
		big := graph.NewTensor(graph.F32, dims...)
		m = &big
	}
	return graph.Tensor{Elem: graph.F32, Dims: dims, Data: m.Data[:n]}, func() { memoryPool.Put(m) }
}
