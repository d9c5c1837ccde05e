package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// metered counts the memory that a device has handed out.
type metered struct {
	devices.Device
	now, peak int
	wraps     bool
}

type meteredBuffer struct {
	devices.Buffer
	m     *metered
	bytes int
}

func (m *metered) Alloc(n int) (devices.Buffer, error) {
	m.now += n
	m.peak = max(m.peak, m.now)
	b, err := m.Device.Alloc(n)
	return &meteredBuffer{b, m, n}, err
}

func (m *metered) Wrap(data []byte) (devices.Buffer, bool) {
	if !m.wraps {
		return nil, false
	}
	b, ok := m.Device.Wrap(data)
	return &meteredBuffer{b, m, 0}, ok
}

func (b *meteredBuffer) Free() error {
	b.m.now -= b.bytes
	b.bytes = 0
	return b.Buffer.Free()
}

// The host's queue and kernels know only the host's buffers.
func unwrapped(b devices.Buffer) devices.Buffer { return b.(*meteredBuffer).Buffer }

func (m *metered) NewQueue() (devices.Queue, error) {
	q, err := m.Device.NewQueue()
	return meteredQueue{q}, err
}

type meteredQueue struct{ devices.Queue }

func (q meteredQueue) Write(dst devices.Buffer, off int, src []byte) error {
	return q.Queue.Write(unwrapped(dst), off, src)
}

func (q meteredQueue) Read(dst []byte, src devices.Buffer, off int) error {
	return q.Queue.Read(dst, unwrapped(src), off)
}

func (m *metered) Kernels() []devices.Kernel {
	ks := slices.Clone(m.Device.Kernels())
	for i := range ks {
		bind := ks[i].Bind
		ks[i].Bind = func(c *devices.Call) (devices.Launch, error) {
			d := *c
			d.In, d.Out = slices.Clone(c.In), slices.Clone(c.Out)
			for _, os := range [][]devices.Operand{d.In, d.Out} {
				for i := range os {
					os[i].Buf = unwrapped(os[i].Buf)
				}
			}
			return bind(&d)
		}
	}
	return ks
}

func (m *metered) Layouts() []devices.Layout {
	ls := slices.Clone(m.Device.Layouts())
	for i := range ls {
		pack := ls[i].Pack
		ls[i].Pack = func(in, out devices.Operand) (devices.Launch, error) {
			in.Buf, out.Buf = unwrapped(in.Buf), unwrapped(out.Buf)
			return pack(in, out)
		}
	}
	return ls
}

// TestLoadStreams builds many layers whose weights are computed from params and
// packed, and checks that at no time more than one layer is in the making.
func TestLoadStreams(t *testing.T) {
	const layers, n = 12, 32
	b := graph.NewBuilder("deep")
	x := b.Input("x", graph.F32, b.Sym("S", 1, 4), graph.C(n))
	weights := Tensors{}
	for i := range layers {
		name := fmt.Sprintf("w%d", i)
		w := b.Param(name, graph.F32, n, n)
		x = ops.Linear(x, ops.Scale(ops.Scale(w, 2), 0.5))
		eye := graph.NewTensor(graph.F32, n, n)
		for j := range n {
			eye.F32()[j*n+j] = 1
		}
		weights[name] = eye
	}
	g, err := b.Finish(x)
	if err != nil {
		t.Fatal(err)
	}
	kernels := []devices.Kernel{columnsMatMul("matmul.columns", "columns", "", nil, 1), host.RefKernel()}
	for _, wraps := range []bool{true, false} {
		dev := &metered{Device: toy(t, kernels, columns("columns")), wraps: wraps}
		p := compile(t, g, dev)
		if err := p.Load(t.Context(), weights); err != nil {
			t.Fatal(err)
		}
		one, packed := 4*n*n, 4+4*n*n
		kept := layers * align(packed)
		if dev.now != kept {
			t.Errorf("wraps %v: %d bytes are kept, want %d", wraps, dev.now, kept)
		}
		if limit := kept + 3*one; dev.peak > limit {
			t.Errorf("wraps %v: %d bytes at the peak, want at most %d", wraps, dev.peak, limit)
		}
		m, err := p.Memory(1)
		if err != nil || m.Weights != layers*packed || m.Packed != m.Weights || m.Read != m.Weights {
			t.Errorf("memory %+v, %v", m, err)
		}
		r := newRun(t, p, nil)
		in := make([]float32, n)
		for i := range in {
			in[i] = float32(i)
		}
		r.SetF32(0, in)
		if err := r.Step(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if y, err := r.Output(t.Context(), 0); err != nil || !slices.Equal(y.F32(), in) {
			t.Errorf("wraps %v: got %v, %v", wraps, y.F32(), err)
		}
		if err := errors.Join(r.Close(), p.Close()); err != nil || dev.now != 0 {
			t.Errorf("wraps %v: %d bytes left after Close, %v", wraps, dev.now, err)
		}
	}
}

// A param that steps read as it is stays in the source's memory.
func TestLoadKeepsMappedParams(t *testing.T) {
	g := parse(t, `
graph @g(%x: f32[S,2])  where S in 1..4
  %g = param "g" : f32[2]
  %y = rmsnorm(%x, %g) {eps=1e-05} : f32[S,2]
  return %y
`)
	w := graph.FromF32([]float32{1, 1}, 2)
	r := newRun(t, compile(t, g, toy(t, []devices.Kernel{host.RefKernel()})), Tensors{"g": w})
	r.SetF32(0, []float32{3, 3})
	for _, gain := range []float32{1, 2} {
		w.F32()[0] = gain // visible only if nothing was copied
		if err := r.Step(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if y, _ := r.Output(t.Context(), 0); y.F32()[0] < gain-.01 || y.F32()[0] > gain {
			t.Errorf("gain %v: got %v", gain, y.F32())
		}
	}
}

func TestLoadReportsEveryParam(t *testing.T) {
	g := parse(t, `
graph @g(%x: f32[S,2])  where S in 1..4
  %a = param "a.weight" : f32[2,2]  // model.go:1
  %b = param "b.weight" : f32[2,2]  // model.go:2
  %c = param "c.weight" : f32[2,2]  // model.go:3
  %d = param "d.weight" : bf16[2,2] // model.go:4
  %e = param "e.weight" : f32[2,2]  // model.go:5
  %1 = matmul(%x, %a) {tb=true} : f32[S,2]
  %2 = matmul(%1, %b) {tb=true} : f32[S,2]
  %3 = matmul(%2, %c) {tb=true} : f32[S,2]
  %4 = matmul(%3, %d) {tb=true} : f32[S,2]
  %s = scale(%e) {by=2} : f32[2,2]
  %5 = matmul(%4, %s) {tb=true} : f32[S,2]
  return %5
`)
	dev := &metered{Device: toy(t, []devices.Kernel{host.RefKernel()})}
	p := compile(t, g, dev)
	f := graph.NewTensor(graph.F32, 2, 2)
	err := p.Load(t.Context(), Tensors{"a.weight": f, "b.weight": graph.NewTensor(graph.F32, 2, 3), "d.weight": f})
	if !errors.Is(err, ErrMissing) {
		t.Errorf("error %v does not wrap ErrMissing", err)
	}
	for _, want := range []string{
		`model.go:2: param "b.weight": the source gives f32[2,3], the model declares f32[2,2]`,
		`model.go:3: param "c.weight": no such tensor`,
		`model.go:4: param "d.weight": the source gives f32[2,2], the model declares bf16[2,2]`,
		`model.go:5: param "e.weight": no such tensor`,
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "a.weight") {
		t.Errorf("a good param is reported: %v", err)
	}
	if dev.now != 0 {
		t.Errorf("%d bytes left after a failed Load", dev.now)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Load(ctx, Tensors{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := p.Load(t.Context(), nil); !errors.Is(err, ErrMissing) {
		t.Errorf("no source: %v", err)
	}
}

func TestLoadWidensHalves(t *testing.T) {
	g := parse(t, `
graph @g()
  %a = param "a" : f32[3]
  %b = param "b" : f32[3]
  %y = add(%a, %b) : f32[3]
  return %y
`)
	a, b := graph.NewTensor(graph.BF16, 3), graph.NewTensor(graph.F16, 3)
	for i, v := range []float32{1, -2, 0.5} {
		a.U16()[i] = graph.F32ToBF16(v)
		b.U16()[i] = graph.F32ToF16(10 * v)
	}
	r := newRun(t, compile(t, g, toy(t, []devices.Kernel{host.RefKernel()})), Tensors{"a": a, "b": b})
	if err := r.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if y, err := r.Output(t.Context(), 0); err != nil || !slices.Equal(y.F32(), []float32{11, -22, 5.5}) {
		t.Errorf("got %v, %v", y.F32(), err)
	}
}
