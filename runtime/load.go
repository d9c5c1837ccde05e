package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/screen"
)

// Load takes the params from src, runs everything that depends on weights only
// and keeps what steps read, packed as their kernels ask. Weights stream: each
// is finished, and what it was made from freed, before the next is taken. Params
// that steps read as they are stay where the source has them if the device can
// read them there. A nil source serves a graph without params.
//
// All missing and mistyped params are reported at once. Load may be repeated
// while no Run is open.
func (p *Program) Load(ctx context.Context, src Source) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return errClosed
	case p.runs > 0:
		return fmt.Errorf("load: %d runs still use the weights: close them first", p.runs)
	}
	p.freeWeights()
	q, err := p.dev.NewQueue()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l := &loader{p: p, ctx: ctx, src: src, q: q, plain: map[int]location{}, uses: map[int]int{}, done: map[*graph.Node]bool{}}
	err = errors.Join(l.run(), q.Close())
	if err != nil {
		l.abandon()
		p.freeWeights()
		return fmt.Errorf("load %s: %w", p.g.Name, err)
	}
	p.loaded = true
	return nil
}

var errClosed = errors.New("the program is closed")

func (p *Program) freeWeights() {
	for _, w := range p.weights {
		if w.buf != p.packed {
			_ = w.buf.Free() // host memory or the device's teardown: nothing to act on
		}
	}
	if p.packed != nil {
		_ = p.packed.Free()
		p.packed = nil
	}
	clear(p.weights)
	p.loaded, p.read = false, 0
}

// Close frees the weights. Runs must be closed before.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs > 0 {
		return fmt.Errorf("close: %d runs are still open", p.runs)
	}
	p.closed = true
	p.freeWeights()
	return nil
}

// loader runs the part of the graph that depends on weights only.
type loader struct {
	p        *Program
	ctx      context.Context
	src      Source
	q        devices.Queue
	plain    map[int]location // row-major values in memory, by root
	uses     map[int]int      // reads of a root still to come, +1 if it is kept
	done     map[*graph.Node]bool
	bad      []error      // params that cannot be had
	end      int          // of what is taken of the packed weights' memory
	screened map[int]bool // see Program.screened
}

func (l *loader) run() error {
	order := l.order()
	l.screened = l.p.screened()
	for _, n := range order {
		for _, v := range n.In {
			l.uses[l.root(v)]++
		}
	}
	for _, s := range l.p.need {
		l.uses[l.p.vals[s.val].root]++ // kept, or read once by packing
	}
	for _, n := range order {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if n.Op == graph.ParamOp.OpDef {
			if err := l.param(n); err != nil {
				l.bad = append(l.bad, err)
			}
			continue
		}
		if len(l.bad) > 0 {
			continue // only look for further bad params
		}
		if err := l.node(n); err != nil {
			return err
		}
	}
	return errors.Join(l.bad...)
}

// abandon frees what was in the making when loading failed.
func (l *loader) abandon() {
	for root, at := range l.plain {
		if _, kept := l.p.weights[stored{root, ""}]; !kept {
			_ = at.buf.Free() // the first error is the one to report
		}
	}
}

func (l *loader) root(v graph.Value) int { return l.p.vals[l.p.id[v]].root }

// order lists the nodes to run so that every needed weight is finished before
// the next one is started. What is computed from weights and kept, such as the planes
// of an output head, comes first: little else is in memory then.
func (l *loader) order() []*graph.Node {
	var order []*graph.Node
	var visit func(n *graph.Node)
	visit = func(n *graph.Node) {
		if l.done[n] {
			return
		}
		l.done[n] = true
		for _, v := range n.In {
			visit(v.Node())
		}
		order = append(order, n)
	}
	for _, s := range l.p.need {
		if n := l.p.vals[s.val].v.Node(); s.layout == "" && n.Op != graph.ParamOp.OpDef {
			visit(n)
		}
	}
	for _, s := range l.p.need {
		visit(l.p.vals[s.val].v.Node())
	}
	return order
}

func (l *loader) param(n *graph.Node) error {
	t, err := fetch(l.ctx, l.src, n)
	if err != nil || len(l.bad) > 0 {
		return err
	}
	l.p.read += len(t.Data)
	buf, ok := l.p.dev.Wrap(t.Data)
	if !ok {
		if buf, err = l.upload(t.Data); err != nil {
			return fmt.Errorf("%s %q: %w", n.Where(), graph.SourceName(n), err)
		}
	}
	return l.finish(n, []location{{buf: buf, bytes: len(t.Data)}})
}

func (l *loader) upload(data []byte) (devices.Buffer, error) {
	buf, err := l.p.dev.Alloc(len(data))
	if err != nil {
		return nil, err
	}
	return buf, errors.Join(l.q.Write(buf, 0, data), l.q.Sync(l.ctx))
}

// node runs one node and drops what it was the last to read.
func (l *loader) node(n *graph.Node) error {
	p := l.p
	fail := func(err error) error { return fmt.Errorf("%s: %w", n.Where(), err) }
	switch {
	case n.Op == graph.ConstOp.OpDef:
		t, ok := graph.ConstTensor(n)
		if !ok {
			return fail(errors.New("bad constant"))
		}
		buf, err := l.upload(t.Data)
		if err != nil {
			return fail(err)
		}
		return l.finish(n, []location{{buf: buf, bytes: len(t.Data)}})
	case n.Op.View:
		if err := l.finish(n, nil); err != nil {
			return err
		}
		return l.drop(n)
	}
	c, err := callAt(n, p.fixed)
	if err != nil {
		return err
	}
	for i, v := range n.In {
		at := l.plain[l.root(v)]
		c.In[i].Buf, c.In[i].Off = at.buf, at.off
	}
	outs := make([]location, len(c.Out))
	for i := range c.Out {
		buf, err := p.dev.Alloc(c.Out[i].Bytes())
		if err != nil {
			return fail(err)
		}
		outs[i] = location{buf: buf, bytes: c.Out[i].Bytes()}
		c.Out[i].Buf = buf
	}
	if !empty(c) {
		k, err := p.sel.kernel(n, p.sel.picks[n], c)
		if err != nil {
			return err
		}
		if err := l.launch(k, c); err != nil {
			return fail(err)
		}
	}
	if err := l.finish(n, outs); err != nil {
		return err
	}
	return l.drop(n)
}

func (l *loader) launch(k devices.Kernel, c *devices.Call) (err error) {
	if k.Scratch != nil {
		if bytes := k.Scratch(c); bytes > 0 {
			buf, err := l.p.dev.Alloc(bytes)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, buf.Free()) }()
			c.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{bytes}, Buf: buf}
		}
	}
	launch, err := k.Bind(c)
	if err != nil {
		return fmt.Errorf("bind %s: %w", k.Name, err)
	}
	return errors.Join(l.q.Launch(launch), l.q.Sync(l.ctx))
}

// finish records where n's results lie, packs them as needed and frees those
// that nothing else reads. outs is nil for a view.
func (l *loader) finish(n *graph.Node, outs []location) error {
	p := l.p
	for i, v := range n.Results() {
		id := p.id[v]
		root := p.vals[id].root
		if outs != nil {
			l.plain[root] = outs[i]
		}
		for _, s := range p.need {
			if s.val != id {
				continue
			}
			if s.layout == "" {
				p.weights[s] = l.plain[root]
				continue
			}
			at, err := l.pack(v, s.layout, l.plain[root])
			if err != nil {
				return fmt.Errorf("%s: pack as %s: %w", n.Where(), s.layout, err)
			}
			p.weights[s] = at
			l.uses[root]--
		}
		if err := l.free(root); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) pack(v graph.Value, layout graph.Layout, from location) (location, error) {
	lay, ok := l.p.sel.reg.Layout(layout)
	if !ok {
		return location{}, errors.New("the device has no such layout")
	}
	dims, err := v.Type().Shape.Eval(l.p.fixed)
	if err != nil {
		return location{}, err
	}
	to, err := l.place(lay.Bytes(dims))
	if err != nil {
		return location{}, err
	}
	launch, err := lay.Pack(
		devices.Operand{Elem: v.Type().Elem, Dims: dims, Buf: from.buf, Off: from.off},
		devices.Operand{Elem: v.Type().Elem, Dims: dims, Layout: layout, Buf: to.buf, Off: to.off})
	if err == nil {
		err = errors.Join(l.q.Launch(launch), l.q.Sync(l.ctx))
	}
	return to, err
}

// place takes memory for a packed weight. All lie in one stretch, so that the pages
// of a host's can be large however small a weight is.
func (l *loader) place(bytes int) (location, error) {
	p := l.p
	if p.packed == nil {
		all := 0
		for _, s := range p.need {
			if s.layout == "" {
				continue
			}
			n, err := p.storedBytes(s)
			if err != nil {
				return location{}, err
			}
			all += align(n)
		}
		var err error
		if p.packed, err = p.dev.Alloc(all); err != nil {
			return location{}, err
		}
	}
	to := location{buf: p.packed, off: l.end, bytes: bytes}
	l.end += align(bytes)
	return to, nil
}

// drop counts n's reads as done.
func (l *loader) drop(n *graph.Node) error {
	for _, v := range n.In {
		r := l.root(v)
		l.uses[r]--
		if err := l.free(r); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) free(root int) error {
	at, ok := l.plain[root]
	if ok && l.uses[root] == 1 && l.screened[root] {
		l.forget(root) // what steps read of it is paged in again
	}
	if !ok || l.uses[root] > 0 {
		return nil
	}
	delete(l.plain, root)
	l.forget(root)
	return at.buf.Free()
}

// forget tells the source that a param is not read any more, or little of it.
func (l *loader) forget(root int) {
	if f, ok := l.src.(Forgetter); ok {
		if n := l.p.vals[root].v.Node(); n.Op == graph.ParamOp.OpDef {
			f.Forget(graph.SourceName(n))
		}
	}
}

// screened lists the roots of output heads of which a screened step reads a handful
// of rows. Where other steps read the whole, they page it in.
func (p *Program) screened() map[int]bool {
	roots := map[int]bool{}
	for _, s := range p.steps {
		if s.n.Op == screen.TopOp.OpDef {
			roots[p.vals[s.in[2]].root] = true
		}
	}
	return roots
}
