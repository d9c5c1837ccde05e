package avx

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// everyISA are options for each instruction set, plain Go among them.
var everyISA = []Options{{Threads: 2}, {Threads: 2, Off: "-avx512"}, {Threads: 2, Off: "-avx512,-avxvnni"}, {Threads: 1, Off: "-all", Portable: true}}

// opCase is one call of an op, for tests and benchmarks of single kernels.
type opCase struct {
	name  string
	op    *graph.OpDef
	attrs any
	in    []graph.Tensor
}

func (c *opCase) outs(t testing.TB) []graph.Tensor {
	t.Helper()
	var types []graph.Type
	for _, x := range c.in {
		types = append(types, x.Type())
	}
	ts, err := c.op.InferTypes(c.attrs, types)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	var outs []graph.Tensor
	for _, o := range ts {
		dims, err := o.Shape.Eval(nil)
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, graph.NewTensor(o.Elem, dims...))
	}
	return outs
}

// alloc puts a tensor into memory of its own.
func alloc(t testing.TB, d *host.Device, elem graph.DType, dims []int, data []byte) devices.Operand {
	t.Helper()
	n, _ := graph.Count(dims)
	buf, err := d.Alloc(n * elem.Size())
	if err != nil {
		t.Fatal(err)
	}
	copy(buf.(*host.Buffer).Bytes(), data)
	return devices.Operand{Elem: elem, Dims: dims, Buf: buf}
}

// bind puts the operands into memory and binds kernel k to them.
func (c *opCase) bind(t testing.TB, d *host.Device, k devices.Kernel) (*devices.Call, devices.Launch) {
	t.Helper()
	call := &devices.Call{Op: c.op, Attrs: c.attrs, Where: c.name}
	for _, x := range c.in {
		call.In = append(call.In, alloc(t, d, x.Elem, x.Dims, x.Data))
	}
	for _, o := range c.outs(t) {
		call.Out = append(call.Out, alloc(t, d, o.Elem, o.Dims, nil))
	}
	for _, u := range c.op.Updates {
		call.Out[u.Out].Buf = call.In[u.In].Buf
	}
	if k.Scratch != nil {
		call.Scratch = alloc(t, d, graph.U8, []int{k.Scratch(call)}, nil)
	}
	l, err := k.Bind(call)
	if err != nil {
		t.Fatalf("%s: bind %s: %v", c.name, k.Name, err)
	}
	return call, l
}

// run launches kernel k once and returns its results.
func (c *opCase) run(t *testing.T, d *host.Device, k devices.Kernel) ([]graph.Tensor, error) {
	t.Helper()
	call, l := c.bind(t, d, k)
	q, err := d.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Launch(l); err != nil {
		t.Fatal(err)
	}
	if err := q.Sync(context.Background()); err != nil {
		return nil, err
	}
	var got []graph.Tensor
	for _, o := range call.Out {
		got = append(got, host.Tensor(o).Clone())
	}
	return got, nil
}

func operands(ts []graph.Tensor) []devices.Operand {
	var os []devices.Operand
	for _, x := range ts {
		os = append(os, devices.Operand{Elem: x.Elem, Dims: x.Dims})
	}
	return os
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func floats(seed uint64, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	r := rng(seed)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64())
	}
	return t
}

func halves(elem graph.DType, t graph.Tensor) graph.Tensor {
	h := graph.NewTensor(elem, t.Dims...)
	for i, v := range t.F32() {
		if elem == graph.F16 {
			h.U16()[i] = graph.F32ToF16(v)
		} else {
			h.U16()[i] = graph.F32ToBF16(v)
		}
	}
	return h
}
