package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/internal/pool"
)

// bench is a device with what its runs share: a queue, and a byte of memory that
// keeps a GPU's driver from giving back after each run what the next one asks for.
type bench struct {
	dev    devices.Device
	reg    *devices.Registry
	q      devices.Queue
	held   devices.Buffer
	onHost bool // its memory can be guarded by the processor
}

func newBench(dev devices.Device) (*bench, error) {
	b := &bench{dev: dev, reg: devices.NewRegistry(dev)}
	var err error
	if b.held, err = dev.Alloc(1); err != nil {
		return nil, err
	}
	_, b.onHost = b.held.(*host.Buffer)
	if b.q, err = dev.NewQueue(); err != nil {
		return nil, errors.Join(err, b.held.Free())
	}
	return b, nil
}

func (b *bench) close() error { return errors.Join(b.q.Close(), b.held.Free()) }

// execute binds a kernel to fresh guarded memory, runs it and returns the
// results. share, if not nil, puts a result in the place of an operand.
func (b *bench) execute(k devices.Kernel, op *graph.OpDef, p *prepared, at placement, share *graph.Update) (out []graph.Tensor, err error) {
	// A kernel that reads behind its operand meets an unreadable page; on this
	// goroutine that becomes an error that names the kernel.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	m := &memory{bench: b, at: at}
	defer func() { err = errors.Join(err, m.free()) }()
	c := p.call(op)
	in := make([]*region, len(c.In))
	for i := range c.In {
		layout := graph.Layout("")
		if i < len(k.Layouts) {
			layout = k.Layouts[i]
		}
		if in[i], err = m.operand(&c.In[i], layout, p.In[i].Data); err != nil {
			return nil, fmt.Errorf("operand %d: %w", i, err)
		}
	}
	// Where a result shares memory with an operand.
	shared := map[int]int{}
	for _, u := range op.Updates {
		shared[u.Out] = u.In
	}
	if share != nil {
		shared[share.Out] = share.In
	}
	res := make([]*region, len(c.Out))
	for i := range c.Out {
		if j, ok := shared[i]; ok {
			c.Out[i].Buf, c.Out[i].Off = c.In[j].Buf, c.In[j].Off
			res[i] = in[j]
			continue
		}
		if res[i], err = m.operand(&c.Out[i], "", nil); err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
	}
	if k.Scratch != nil {
		if n := k.Scratch(c); n > 0 {
			c.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{n}}
			if _, err := m.operand(&c.Scratch, "", nil); err != nil {
				return nil, fmt.Errorf("scratch: %w", err)
			}
		}
	}
	launch, err := k.Bind(c)
	if err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := m.run(launch); err != nil {
		return nil, err
	}
	if err := m.look(); err != nil {
		return nil, err
	}
	for i := range c.Out {
		t := graph.NewTensor(c.Out[i].Elem, c.Out[i].Dims...)
		copy(t.Data, res[i].found())
		out = append(out, t)
	}
	return out, m.verify(in, shared)
}

func (m *memory) run(l devices.Launch) error {
	err := errors.Join(m.q.Launch(l), m.q.Sync(context.Background()))
	var p *pool.PanicError
	if errors.As(err, &p) {
		if f, ok := p.Value.(interface{ Addr() uintptr }); ok {
			return fmt.Errorf("the kernel touched memory outside its operands, at %#x", f.Addr())
		}
	}
	return err
}

// operand gives o memory of its own that holds data, packed as layout, or
// garbage if data is nil.
func (m *memory) operand(o *devices.Operand, layout graph.Layout, data []byte) (*region, error) {
	bytes := o.Bytes()
	if layout != "" {
		lay, ok := m.reg.Layout(layout)
		if !ok {
			return nil, fmt.Errorf("the device has no layout %s", layout)
		}
		plain := *o
		if _, err := m.operand(&plain, "", data); err != nil {
			return nil, err
		}
		r, err := m.alloc(lay.Bytes(o.Dims), nil)
		if err != nil {
			return nil, err
		}
		o.Layout, o.Buf, o.Off = layout, r.buf, r.off
		launch, err := lay.Pack(plain, *o)
		if err == nil {
			err = m.run(launch)
		}
		if err != nil {
			return nil, fmt.Errorf("pack as %s: %w", layout, err)
		}
		r.content = make([]byte, r.n)
		return r, m.read(r.content, r)
	}
	r, err := m.alloc(bytes, data)
	if err != nil {
		return nil, err
	}
	o.Buf, o.Off = r.buf, r.off
	if data != nil {
		r.content = data
	}
	return r, nil
}
