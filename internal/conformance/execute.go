package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/pool"
)

// execute binds a kernel to fresh guarded memory, runs it and returns the
// results. share, if not nil, puts a result in the place of an operand.
func execute(dev devices.Device, reg *devices.Registry, k devices.Kernel, op *graph.OpDef, p *prepared, at placement, share *graph.Update) (out []graph.Tensor, err error) {
	// A kernel that reads behind its operand meets an unreadable page; on this
	// goroutine that becomes an error that names the kernel.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	q, err := dev.NewQueue()
	if err != nil {
		return nil, err
	}
	m, err := newMemory(dev, q, at)
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	defer func() { err = errors.Join(err, m.free(), q.Close()) }()
	c := p.call(op)
	in := make([]*region, len(c.In))
	for i := range c.In {
		layout := graph.Layout("")
		if i < len(k.Layouts) {
			layout = k.Layouts[i]
		}
		if in[i], err = m.operand(&c.In[i], reg, layout, p.In[i].Data); err != nil {
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
		if res[i], err = m.operand(&c.Out[i], reg, "", nil); err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
	}
	if k.Scratch != nil {
		if n := k.Scratch(c); n > 0 {
			c.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{n}}
			if _, err := m.operand(&c.Scratch, reg, "", nil); err != nil {
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
	for i := range c.Out {
		t := graph.NewTensor(c.Out[i].Elem, c.Out[i].Dims...)
		if err := m.read(t.Data, res[i]); err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
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
func (m *memory) operand(o *devices.Operand, reg *devices.Registry, layout graph.Layout, data []byte) (*region, error) {
	bytes := o.Bytes()
	if layout != "" {
		lay, ok := reg.Layout(layout)
		if !ok {
			return nil, fmt.Errorf("the device has no layout %s", layout)
		}
		plain := *o
		if _, err := m.operand(&plain, reg, "", data); err != nil {
			return nil, err
		}
		r, err := m.alloc(lay.Bytes(o.Dims), false)
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
		return r, m.keep(r)
	}
	r, err := m.alloc(bytes, data != nil)
	if err != nil {
		return nil, err
	}
	o.Buf, o.Off = r.buf, r.off
	if data == nil {
		return r, nil
	}
	if err := m.write(r, data); err != nil {
		return nil, err
	}
	return r, m.keep(r)
}
