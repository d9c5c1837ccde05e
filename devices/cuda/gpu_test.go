//go:build cuda

package cuda

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/conformance"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// The GPU tests skip where there is no GPU, unless TRIT_CUDA=required.
func openGPU(t testing.TB) *Device {
	t.Helper()
	d := openGPUForLoss(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// openGPUForLoss leaves closing to the caller.
func openGPUForLoss(t testing.TB) *Device {
	t.Helper()
	d, err := Open(0)
	switch {
	case err == nil:
	case os.Getenv("TRIT_CUDA") == "required":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return d
}

// rig is a device with a queue and the means to run one op.
type rig struct {
	testing.TB
	d   *Device
	q   devices.Queue
	reg *devices.Registry
}

func newRig(t testing.TB) *rig {
	d := openGPU(t)
	q, err := d.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t, d, q, devices.NewRegistry(d)}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) sync() {
	r.Helper()
	r.must(r.q.Sync(r.Context()))
}

// guard is the bytes around every operand that no kernel may change.
const guard, guardByte = 2 * devices.Align, 0xa5

// operand allocates an operand between guards, filled with the guard byte.
func (r *rig) operand(elem graph.DType, layout graph.Layout, dims ...int) devices.Operand {
	r.Helper()
	o := devices.Operand{Elem: elem, Dims: dims, Layout: layout, Off: guard}
	buf, err := r.d.Alloc(r.d.bytes(o) + 2*guard)
	r.must(err)
	r.Cleanup(func() { r.must(buf.Free()) })
	r.must(r.q.Write(buf, 0, bytes.Repeat([]byte{guardByte}, buf.Size())))
	o.Buf = buf
	return o
}

// upload makes an operand of a host tensor, packed if layout is set.
func (r *rig) upload(t graph.Tensor, layout graph.Layout) devices.Operand {
	r.Helper()
	o := r.operand(t.Elem, "", t.Dims...)
	r.must(r.q.Write(o.Buf, o.Off, t.Data))
	if layout == "" {
		return o
	}
	l, ok := r.reg.Layout(layout)
	if !ok {
		r.Fatalf("no layout %q", layout)
	}
	p := r.operand(t.Elem, layout, t.Dims...)
	pack, err := l.Pack(o, p)
	r.must(err)
	r.must(r.q.Launch(pack))
	return p
}

// download reads an operand's bytes and checks its guards.
func (r *rig) download(o devices.Operand) []byte {
	r.Helper()
	all := make([]byte, o.Buf.Size())
	r.must(r.q.Read(all, o.Buf, 0))
	r.sync()
	n := r.d.bytes(o)
	for i, b := range all {
		if (i < o.Off || i >= o.Off+n) && b != guardByte {
			r.Errorf("a kernel wrote byte %d of operand %s%v", i-o.Off, o.Elem, o.Dims)
			break
		}
	}
	return all[o.Off : o.Off+n]
}

// call is a bound call of k over uploaded operands.
func (r *rig) call(k devices.Kernel, attrs any, in []devices.Operand, out []graph.Tensor) (devices.Launch, *devices.Call) {
	r.Helper()
	c := &devices.Call{Op: k.Op, Attrs: attrs, In: in, Where: "test"}
	for _, t := range out {
		c.Out = append(c.Out, r.operand(t.Elem, "", t.Dims...))
	}
	if k.Scratch != nil {
		c.Scratch = r.operand(graph.U8, "", k.Scratch(c))
	}
	l, err := k.Bind(c)
	r.must(err)
	return l, c
}

// run runs one kernel and returns its results.
func (r *rig) run(k devices.Kernel, attrs any, in []graph.Tensor) []graph.Tensor {
	r.Helper()
	out, err := outTypes(k.Op, attrs, in)
	r.must(err)
	var args []devices.Operand
	for i, t := range in {
		var layout graph.Layout
		if i < len(k.Layouts) {
			layout = k.Layouts[i]
		}
		args = append(args, r.upload(t, layout))
	}
	l, c := r.call(k, attrs, args, out)
	r.must(r.q.Launch(l))
	for i := range out {
		copy(out[i].Data, r.download(c.Out[i]))
	}
	return out
}

// reference runs the op's own implementation.
func reference(t testing.TB, op *graph.OpDef, attrs any, in []graph.Tensor) []graph.Tensor {
	t.Helper()
	out, err := outTypes(op, attrs, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Run(attrs, in, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare demands equal integers and floats within a relative 1e-6; loose
// allows codes to differ by one, seldom, where a norm was quantized.
func compare(t testing.TB, what string, got, want []graph.Tensor, loose bool) {
	t.Helper()
	for i := range want {
		off := 0
		for j := range want[i].Len() {
			switch want[i].Elem {
			case graph.I8:
				d := int(got[i].I8()[j]) - int(want[i].I8()[j])
				if d != 0 {
					off++
				}
				if d < -1 || d > 1 || off > 0 && !loose {
					t.Fatalf("%s: result %d element %d is %d, want %d", what, i, j, got[i].I8()[j], want[i].I8()[j])
				}
			case graph.I32:
				if g, w := got[i].I32()[j], want[i].I32()[j]; g != w {
					t.Fatalf("%s: result %d element %d is %d, want %d", what, i, j, g, w)
				}
			case graph.F32:
				g, w := float64(got[i].F32()[j]), float64(want[i].F32()[j])
				// A relative bound says nothing of infinities: any is within it.
				if g != w && (math.IsInf(w, 0) || !(math.Abs(g-w) <= 1e-6*math.Abs(w))) {
					t.Fatalf("%s: result %d element %d is %v, want %v", what, i, j, g, w)
				}
			default:
				t.Fatalf("%s: result %d is %s", what, i, want[i].Elem)
			}
		}
		if off*500 > want[i].Len() {
			t.Errorf("%s: %d of %d codes differ", what, off, want[i].Len())
		}
	}
}

func TestKernels(t *testing.T) {
	r := newRig(t)
	t.Log(r.d.Info())
	sizes := []size3{{1, 1, 1}, {1, 5, 15}, {2, 16, 16}, {3, 17, 63}, {7, 33, 64}, {8, 31, 65}, {9, 100, 100}, {17, 128, 1000}}
	if !testing.Short() {
		sizes = append(sizes, size3{1, 2560, 2560}, size3{1, 2560, 6912}, size3{9, 3840, 2560}, size3{64, 500, 6912})
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for _, k := range r.d.Kernels() {
		if k.Scratch != nil || len(k.Op.Updates) > 0 || k.Op == ternary.SliceOp.OpDef {
			continue // left to TestConformance
		}
		if slices.ContainsFunc(k.Needs, func(f devices.Feature) bool { return !r.d.Has(f) }) {
			continue
		}
		if tol := conformance.Known()[k.Op].Tol; tol.Rel > 1e-6 || tol.Abs > 0 {
			continue // compare below is stricter
		}
		t.Run(k.Name, func(t *testing.T) {
			r := &rig{t, r.d, r.q, r.reg}
			loose := k.Op == bitlinear.SubLNQuantOp.OpDef
			for _, z := range sizes {
				attrs, in := example(k.Op, z, rng)
				if out, err := outTypes(k.Op, attrs, in); err != nil || k.Fit(callOf(k.Op, attrs, in, out)) != nil {
					continue // TestConformance has calls that it takes
				} else if e := out[0].Elem; e != graph.F32 && e != graph.I32 && e != graph.I8 {
					continue // compare knows no others
				}
				compare(t, fmt.Sprint(z), r.run(k, attrs, in), reference(t, k.Op, attrs, in), loose)
				hostile(k.Op, in)
				compare(t, fmt.Sprint("hostile ", z), r.run(k, attrs, in), reference(t, k.Op, attrs, in), loose)
			}
		})
		if err := r.q.Sync(t.Context()); err != nil {
			t.Fatal(err) // the device is lost, and with it all that follows
		}
	}
}

// hostile replaces operands by extreme ones: sums that overflow narrower
// accumulators, rows of zeros, ties of rounding.
func hostile(op *graph.OpDef, in []graph.Tensor) {
	switch op {
	case ternary.MatMulOp.OpDef:
		for i := range in[0].I8() {
			in[0].I8()[i] = -128
		}
		for i := range in[1].I8() {
			in[1].I8()[i] = int8(1 - 2*(i/in[1].Dims[1]%2))
		}
	case ops.QuantActOp.OpDef, bitlinear.SubLNQuantOp.OpDef, ops.RMSNormOp.OpDef:
		x, d := in[0].F32(), in[0].Dims[1]
		for i := range x {
			switch i / d % 3 {
			case 0:
				x[i] = 0
			case 1: // all codes but the first are ties
				x[i] = (float32(i%d%254) - 126.5) * 0.25
				if i%d == 0 {
					x[i] = 127 * 0.25
				}
			case 2:
				x[i] = 1e-20 * float32(1+i%7)
			}
		}
	}
}

func TestPackMatchesLayout(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, z := range []size3{{1, 1, 1}, {1, 3, 64}, {1, 5, 65}, {1, 7, 1000}} {
		_, in := example(ternary.MatMulOp.OpDef, z, rng)
		got := r.download(r.upload(in[1], i2x64))
		if !bytes.Equal(got, pack(in[1].I8(), z.n, z.k)) {
			t.Errorf("%v: the packed bytes are not those of the documented layout", z)
		}
	}
}

// chain is subln_quant → ternary.matmul → rescale → add, as lowering would
// bind it, in one plan for m tokens.
type chain struct {
	x, res, out devices.Operand
	launches    []devices.Launch
	dims        size3
	w           weights
}

func (r *rig) choose(op *graph.OpDef, attrs any, in []graph.Tensor) devices.Kernel {
	r.Helper()
	c := &devices.Call{Op: op, Attrs: attrs, Where: "test"}
	for _, t := range in {
		c.In = append(c.In, devices.Operand{Elem: t.Elem, Dims: t.Dims})
	}
	out, err := outTypes(op, attrs, in)
	r.must(err)
	for _, t := range out {
		c.Out = append(c.Out, devices.Operand{Elem: t.Elem, Dims: t.Dims})
	}
	k, _, err := r.reg.Choose(c)
	r.must(err)
	return k
}

func (r *rig) newChain(z size3, w weights) *chain {
	r.Helper()
	c := &chain{dims: z, w: w}
	step := func(op *graph.OpDef, attrs any, shapes []graph.Tensor, in ...devices.Operand) []devices.Operand {
		out, err := outTypes(op, attrs, shapes)
		r.must(err)
		l, call := r.call(r.choose(op, attrs, shapes), attrs, in, out)
		c.launches = append(c.launches, l)
		return call.Out
	}
	x, q, s := graph.NewTensor(graph.F32, z.m, z.k), graph.NewTensor(graph.I8, z.m, z.k), graph.NewTensor(graph.F32, z.m, 1)
	acc, y := graph.NewTensor(graph.I32, z.m, z.n), graph.NewTensor(graph.F32, z.m, z.n)

	c.x, c.res = r.upload(x, ""), r.upload(y, "")
	qs := step(bitlinear.SubLNQuantOp.OpDef, chainAttrs, []graph.Tensor{x, w.g}, c.x, r.upload(w.g, ""))
	sum := step(ternary.MatMulOp.OpDef, graph.None{}, []graph.Tensor{q, w.t}, qs[0], r.upload(w.t, i2x64))
	l := step(bitlinear.RescaleOp.OpDef, graph.None{}, []graph.Tensor{acc, s, w.gamma}, sum[0], qs[1], r.upload(w.gamma, ""))
	c.out = step(ops.AddOp.OpDef, graph.None{}, []graph.Tensor{y, y}, l[0], c.res)[0]
	return c
}

// feed writes new inputs and returns them.
func (r *rig) feed(c *chain, rng *rand.Rand) (x, res graph.Tensor) {
	_, in := example(ops.RMSNormOp.OpDef, c.dims, rng)
	_, add := example(ops.AddOp.OpDef, c.dims, rng)
	r.must(r.q.Write(c.x.Buf, c.x.Off, in[0].Data))
	r.must(r.q.Write(c.res.Buf, c.res.Off, add[0].Data))
	return in[0], add[0]
}

// TestChainReplay captures the chain once, replays it on fresh inputs, and
// compares with the interpreter, with direct launches, and row by row with the
// chain for one token.
func TestChainReplay(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(5, 5))
	z := size3{9, 300, 2560}
	if testing.Short() {
		z = size3{9, 40, 200}
	}
	c := r.newChain(z, newWeights(z, rng))
	seq, err := r.q.Capture(c.launches)
	r.must(err)
	before := r.download(c.out)
	for i, b := range before {
		if b != guardByte {
			t.Fatalf("capturing ran the launches: byte %d changed", i)
		}
	}
	var last []byte
	for range 3 {
		x, res := r.feed(c, rng)
		r.must(seq.Replay())
		last = r.download(c.out)
		got, err := graph.NewTensorFrom(graph.F32, last, z.m, z.n)
		r.must(err)

		q := reference(t, bitlinear.SubLNQuantOp.OpDef, chainAttrs, []graph.Tensor{x, c.w.g})
		y := reference(t, bitlinear.LinearAddOp.OpDef, graph.None{}, []graph.Tensor{q[0], q[1], c.w.t, c.w.gamma, res})
		// A code that differs by one moves an element by gamma/s.
		worst := 0.0
		for i, w := range y[0].F32() {
			f := float64(c.w.gamma.F32()[0] / q[1].F32()[i/z.n])
			worst = max(worst, math.Abs(float64(got.F32()[i]-w))/f)
		}
		t.Logf("largest difference from the interpreter: %.3g code steps", worst)
		if !(worst < 3) {
			t.Errorf("largest difference from the interpreter is %v code steps", worst)
		}
	}

	r.must(r.q.Launch(c.launches...))
	if !bytes.Equal(r.download(c.out), last) {
		t.Error("a replay and direct launches differ")
	}
	times, err := seq.Profile()
	r.must(err)
	if len(times) != len(c.launches) {
		t.Errorf("%d times for %d launches", len(times), len(c.launches))
	}
	for i, d := range times {
		if d <= 0 || d > time.Second {
			t.Errorf("launch %d took %v", i, d)
		}
	}
	t.Log("profile of a step:", times)
	if n := testing.AllocsPerRun(20, func() { r.must(seq.Replay()) }); n != 0 {
		t.Errorf("Replay allocates %v times", n)
	}
	r.sync()
	r.must(seq.Free())
}

// TestRowsAreIndependent runs a batch and each of its rows alone, through
// whatever kernels are chosen, and demands the same bytes.
func TestRowsAreIndependent(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(6, 6))
	z := size3{11, 77, 500}
	w := newWeights(z, rng)
	batch, solo := r.newChain(z, w), r.newChain(size3{1, z.n, z.k}, w)
	x, res := r.feed(batch, rng)
	r.must(r.q.Launch(batch.launches...))
	want := r.download(batch.out)
	for i := range z.m {
		r.must(r.q.Write(solo.x.Buf, solo.x.Off, x.Data[i*z.k*4:(i+1)*z.k*4]))
		r.must(r.q.Write(solo.res.Buf, solo.res.Off, res.Data[i*z.n*4:(i+1)*z.n*4]))
		r.must(r.q.Launch(solo.launches...))
		if !bytes.Equal(r.download(solo.out), want[i*z.n*4:(i+1)*z.n*4]) {
			t.Errorf("row %d alone differs from the row in a batch of %d", i, z.m)
		}
	}
}
