package avx

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// opCase is one call of an op. tol bounds |got-want| relative to 1+|want|; 0
// demands equality. codes is how many int8 results may be off by one, which a
// rounding tie after a float reduction can make them.
type opCase struct {
	name  string
	op    *graph.OpDef
	attrs any
	in    []graph.Tensor
	tol   float64
	codes int
}

// target is a device under test with the options that made it.
type target struct {
	name string
	dev  *host.Device
}

// targets are the instruction sets of this machine and several thread counts;
// the results of one instruction set must not depend on the latter.
func targets(t *testing.T) [][]target {
	t.Helper()
	var all [][]target
	for _, o := range []Options{{}, {Off: "-avx512"}, {Off: "-all", Portable: true}} {
		var same []target
		for _, threads := range []int{1, 3} {
			o.Threads = threads
			if o.Portable && threads > 1 {
				continue // slow, and the split is the same
			}
			d, err := Device(o)
			if err != nil {
				t.Logf("options %+v: %v", o, err)
				continue
			}
			t.Cleanup(func() { _ = d.Close() })
			same = append(same, target{fmt.Sprintf("%s/threads=%d", d.Name(), threads), d})
		}
		if len(same) > 0 {
			all = append(all, same)
		}
	}
	return all
}

// reference runs the op's own implementation.
func (c *opCase) reference(t *testing.T) []graph.Tensor {
	t.Helper()
	outs := c.outs(t)
	in := make([]graph.Tensor, len(c.in))
	for i := range in {
		in[i] = c.in[i].Clone()
	}
	if err := c.op.Run(c.attrs, in, outs); err != nil {
		t.Fatalf("%s: reference: %v", c.name, err)
	}
	return outs
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

// alloc puts a tensor into memory of its own; a result is filled with garbage
// first, because arenas are reused.
func alloc(t testing.TB, d *host.Device, elem graph.DType, dims []int, data []byte) devices.Operand {
	t.Helper()
	n, _ := graph.Count(dims)
	buf, err := d.Alloc(n * elem.Size())
	if err != nil {
		t.Fatal(err)
	}
	b := buf.(*host.Buffer).Bytes()
	for i := range b {
		b[i] = 0xc3
	}
	copy(b, data)
	return devices.Operand{Elem: elem, Dims: dims, Buf: buf}
}

// run binds kernel k to the case and runs it twice. In the aliased form, results
// take the memory of operands where the kernel allows it.
func (c *opCase) run(t *testing.T, d *host.Device, k devices.Kernel, aliased bool) ([]graph.Tensor, error) {
	t.Helper()
	var got []graph.Tensor
	for range 2 {
		call := &devices.Call{Op: c.op, Attrs: c.attrs, Where: c.name}
		for _, x := range c.in {
			call.In = append(call.In, alloc(t, d, x.Elem, x.Dims, x.Data))
		}
		for _, o := range c.outs(t) {
			call.Out = append(call.Out, alloc(t, d, o.Elem, o.Dims, nil))
		}
		share := slices.Clone(c.op.Updates)
		if aliased {
			share = append(share, k.InPlace...)
		}
		taken := map[int]bool{}
		for _, u := range share {
			if !taken[u.Out] && call.Out[u.Out].Bytes() <= call.In[u.In].Bytes() {
				taken[u.Out] = true
				call.Out[u.Out].Buf = call.In[u.In].Buf
			}
		}
		q, err := d.NewQueue()
		if err != nil {
			t.Fatal(err)
		}
		c.pack(t, d, q, k, call)
		if k.Scratch != nil {
			call.Scratch = alloc(t, d, graph.U8, []int{k.Scratch(call)}, nil)
		}
		l, err := k.Bind(call)
		if err != nil {
			t.Fatalf("%s: bind %s: %v", c.name, k.Name, err)
		}
		if err := q.Launch(l); err != nil {
			t.Fatal(err)
		}
		if err := q.Sync(context.Background()); err != nil {
			return nil, err
		}
		got = nil
		for _, o := range call.Out {
			got = append(got, host.Tensor(o).Clone())
		}
	}
	return got, nil
}

func (c *opCase) pack(t *testing.T, d *host.Device, q devices.Queue, k devices.Kernel, call *devices.Call) {
	t.Helper()
	for i, name := range k.Layouts {
		if name == "" {
			continue
		}
		lay, ok := devices.NewRegistry(d).Layout(name)
		if !ok {
			t.Fatalf("%s asks for unknown layout %s", k.Name, name)
		}
		in := call.In[i]
		out := in
		out.Layout = name
		var err error
		if out.Buf, err = d.Alloc(lay.Bytes(in.Dims)); err != nil {
			t.Fatal(err)
		}
		l, err := lay.Pack(in, out)
		if err == nil {
			err = q.Launch(l)
		}
		if err == nil {
			err = q.Sync(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		call.In[i] = out
	}
}

// compare returns what is wrong with got, or "".
func (c *opCase) compare(got, want graph.Tensor) string {
	if got.Elem != want.Elem || !slices.Equal(got.Dims, want.Dims) {
		return fmt.Sprintf("got %s, want %s", got.Type(), want.Type())
	}
	switch want.Elem {
	case graph.F32, graph.F16, graph.BF16:
		for i := range want.Len() {
			g, w := got.FloatAt(i), want.FloatAt(i)
			if g == w || math.IsNaN(g) && math.IsNaN(w) {
				continue
			}
			if !(math.Abs(g-w) <= c.tol*(1+math.Abs(w))) {
				return fmt.Sprintf("element %d is %v, want %v", i, g, w)
			}
		}
	case graph.I8, graph.Tern:
		off := 0
		for i, w := range want.I8() {
			g := got.I8()[i]
			if g == w {
				continue
			}
			if off++; off > c.codes || g-w > 1 || w-g > 1 {
				return fmt.Sprintf("code %d is %d, want %d", i, g, w)
			}
		}
	default:
		if string(got.Data) != string(want.Data) {
			return "integers differ"
		}
	}
	return ""
}

// check runs every kernel that takes the case on every device.
func (c *opCase) check(t *testing.T, all [][]target, seen map[string]bool) {
	t.Helper()
	want := c.reference(t)
	for _, same := range all {
		base := map[string][]graph.Tensor{}
		for _, tg := range same {
			for _, k := range tg.dev.Kernels() {
				if k.Op != c.op || !available(tg.dev, k) {
					continue
				}
				call := &devices.Call{Op: c.op, Attrs: c.attrs}
				for _, x := range c.in {
					call.In = append(call.In, devices.Operand{Elem: x.Elem, Dims: x.Dims})
				}
				for _, x := range want {
					call.Out = append(call.Out, devices.Operand{Elem: x.Elem, Dims: x.Dims})
				}
				if k.Accept != nil && k.Accept(call) != nil {
					continue
				}
				if cost := k.Cost(call); !(cost >= 0) || math.IsInf(cost, 0) {
					t.Errorf("%s: %s costs %v", c.name, k.Name, cost)
				}
				seen[k.Name] = true
				for _, aliased := range []bool{false, true} {
					got, err := c.run(t, tg.dev, k, aliased)
					if err != nil {
						t.Errorf("%s: %s on %s: %v", c.name, k.Name, tg.name, err)
						continue
					}
					for i := range want {
						if d := c.compare(got[i], want[i]); d != "" {
							t.Errorf("%s: %s on %s (aliased %v): result %d: %s", c.name, k.Name, tg.name, aliased, i, d)
						}
					}
					key := k.Order
					if key == "" {
						key = k.Name
					}
					if base[key] == nil {
						base[key] = got
					}
					for i := range got {
						if string(got[i].Data) != string(base[key][i].Data) {
							t.Errorf("%s: %s on %s (aliased %v): result %d has other bits than %s gave first", c.name, k.Name, tg.name, aliased, i, key)
						}
					}
				}
			}
		}
	}
}

func available(d *host.Device, k devices.Kernel) bool {
	for _, f := range k.Needs {
		if !d.Has(f) {
			return false
		}
	}
	return true
}

// Random data.

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

func ints(seed uint64, low, high int, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.I32, dims...)
	r := rng(seed)
	for i := range t.I32() {
		t.I32()[i] = int32(low + r.IntN(high-low+1))
	}
	return t
}

func bytesOf8(seed uint64, elem graph.DType, low, high int, dims ...int) graph.Tensor {
	t := graph.NewTensor(elem, dims...)
	r := rng(seed)
	for i := range t.I8() {
		t.I8()[i] = int8(low + r.IntN(high-low+1))
	}
	return t
}

func filled(t graph.Tensor, v float32) graph.Tensor {
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return t
}

func scalar(v float32) graph.Tensor { return graph.FromF32([]float32{v}) }
