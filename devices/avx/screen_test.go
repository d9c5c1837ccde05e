package avx

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/runtime"
)

// TestScreenedHeadIsTheWholeHead compares the bits of the likeliest logits with
// those of the whole head, on heads made so that screening leaves rows out, with
// winners that other rows miss by one unit in the last place or equal.
func TestScreenedHeadIsTheWholeHead(t *testing.T) {
	const n, k = 6000, 320
	r := rand.New(rand.NewPCG(5, 5))
	for _, off := range []string{"", "-avx512,-avxvnni"} {
		dev, err := Device(Options{Threads: 2, Off: off})
		if err != nil {
			t.Skip(err)
		}
		defer dev.Close()
		for _, hard := range []bool{false, true} {
			w, x := graph.NewTensor(graph.BF16, n, k), graph.NewTensor(graph.F32, 4, k)
			for i := range w.U16() {
				w.U16()[i] = graph.F32ToBF16(float32(r.NormFloat64()))
			}
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64())
			}
			if hard {
				for s := range 4 { // rows much like the token, and nearly the same as each other
					for range 50 {
						row := w.U16()[r.IntN(n)*k:][:k]
						for i := range row {
							row[i] = graph.F32ToBF16(x.F32()[s*k+i])
						}
						if r.IntN(3) > 0 {
							row[r.IntN(k)] ^= 1
						}
					}
				}
			}
			keep := graph.FromI32([]int32{1, 1, 7, 60}, 4)
			whole := launch(t, dev, ops.MatMulOp.OpDef, ops.MatMulAttrs{TB: true}, x, w)
			planes := launch(t, dev, screen.PlanesOp.OpDef, graph.None{}, w)
			got := launch(t, dev, screen.TopOp.OpDef, graph.None{}, append([]graph.Tensor{x, keep, w}, planes...)...)[0]
			want := graph.NewTensor(graph.F32, 4, n)
			if err := screen.KeepOp.Run(graph.None{}, []graph.Tensor{whole[0], keep}, []graph.Tensor{want}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s, hard %v: the likeliest logits differ from the whole head's", dev.Name(), hard)
			}
		}
	}
}

// TestScreeningLeavesRowsOut looks into a call: nearly all rows are out after the
// second look, so the test above does test something.
func TestScreeningLeavesRowsOut(t *testing.T) {
	const n, k = 4096, 512
	r := rand.New(rand.NewPCG(1, 5))
	u := &unit{isa: asm.Generic, threads: 1}
	c := &devices.Call{In: []devices.Operand{{Elem: graph.F32, Dims: []int{1, k}}, {}, {Elem: graph.BF16, Dims: []int{n, k}}}}
	s := &scratch{}
	u.newTop(c, s)
	b, err := host.Alloc(s.size)
	if err != nil {
		t.Fatal(err)
	}
	top := u.newTop(c, &scratch{mem: b.Bytes()})
	top.x, top.y, top.keep = make([]float32, k), make([]float32, n), []int32{1}
	top.nib, top.crumb, top.bounds = make([]byte, n*k/2), make([]byte, n*k/4), make([]float32, n*screen.Bounds)
	for i := range top.x {
		top.x[i] = float32(r.NormFloat64())
	}
	w := make([]float32, n*k)
	for i := range w {
		w[i] = r.Float32() - 0.5
	}
	for i := 0; i < n; i += screen.Group {
		screen.Pack(top.nib, top.crumb, top.bounds, i, n, k, func(i int) []float32 { return w[i*k : (i+1)*k] })
	}
	top.dot = func(y []float32, from, to int, x []float32) {
		for r := from; r < to; r++ {
			y[r] = 0
			for l, v := range w[r*k : (r+1)*k] {
				y[r] += v * x[l]
			}
		}
	}
	top.prepare(0, 0)
	left := func() (rows int) {
		for i := range n / topRows {
			top.runs(i, 0, func(from, to int) {
				rows += to - from
				for j := from; j < to; j++ {
					sum := 0.0
					for l, v := range w[j*k : (j+1)*k] {
						sum += float64(v) * float64(top.x[l])
					}
					if sum < float64(top.least[0][j]) || sum > float64(top.most[0][j]) {
						t.Fatalf("row %d is %v, outside of %v to %v", j, sum, top.least[0][j], top.most[0][j])
					}
				}
			})
		}
		return rows
	}
	top.tokens[0].cut = float32(math.Inf(-1))
	for i := range n / topRows {
		top.nibbles(i, 0)
	}
	left()
	top.seed(0, 0)
	if rows := left(); rows < 1 || rows > n/2 {
		t.Errorf("%d of %d rows are left after the first look", rows, n)
	}
	for i := range n / topRows {
		top.crumbs(i, 0)
	}
	top.cutAt(0, 0)
	rows := left()
	if rows < 1 || rows > n/100 {
		t.Errorf("%d of %d rows are left", rows, n)
	}
	if skipped := top.unread(); skipped < n*k/4/2 {
		t.Errorf("%d of %d bytes of crumbs are unread", skipped, n*k/4)
	}
}

// launch runs the device's first kernel that takes the call and returns its
// results.
func launch(t testing.TB, dev *host.Device, op *graph.OpDef, attrs any, in ...graph.Tensor) []graph.Tensor {
	t.Helper()
	q, err := dev.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	operand := func(x graph.Tensor) devices.Operand {
		b, err := dev.Alloc(len(x.Data))
		if err == nil {
			err = q.Write(b, 0, x.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
		return devices.Operand{Elem: x.Elem, Dims: x.Dims, Buf: b}
	}
	c := &devices.Call{Op: op, Attrs: attrs}
	var types []graph.Type
	for _, x := range in {
		c.In, types = append(c.In, operand(x)), append(types, x.Type())
	}
	outs, err := op.InferTypes(attrs, types)
	if err != nil {
		t.Fatal(err)
	}
	var res []graph.Tensor
	for _, o := range outs {
		d, _ := o.Shape.Eval(nil)
		res = append(res, graph.NewTensor(o.Elem, d...))
		c.Out = append(c.Out, operand(res[len(res)-1]))
	}
	k, _, err := devices.NewRegistry(dev).Choose(c)
	if err != nil {
		t.Fatal(err)
	}
	if k.Scratch != nil {
		c.Scratch = operand(graph.NewTensor(graph.U8, k.Scratch(c)))
	}
	l, err := k.Bind(c)
	if err == nil {
		err = errors.Join(q.Launch(l), q.Sync(context.Background()))
	}
	for i := range res {
		err = errors.Join(err, q.Read(res[i].Data, c.Out[i].Buf, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// forgetful is a source that records what is forgotten, and when.
type forgetful struct {
	runtime.Tensors
	log []string
}

func (f *forgetful) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	f.log = append(f.log, name)
	return f.Tensors.Tensor(ctx, name)
}

func (f *forgetful) Forget(name string) { f.log = append(f.log, "forget "+name) }

// TestScreenedHeadIsForgotten: once its planes are made, a head need not stay in
// memory, and that comes before anything else is packed.
func TestScreenedHeadIsForgotten(t *testing.T) {
	const n, k = 64, 256
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 4)
	x, keep := b.Input("x", graph.F32, s, graph.C(k)), b.Input("k", graph.I32, s)
	q, scale := ops.QuantAct(x, ops.Int8)
	y := bitlinear.IntLinearOp.One(graph.None{}, q, scale, b.Param("t", graph.Tern, k, k), b.Param("gamma", graph.F32))
	g, err := b.Finish(screen.Top(y, keep, b.Param("head", graph.BF16, n, k)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(g, newDevice(t, Options{Threads: 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	src := &forgetful{Tensors: runtime.Tensors{"t": graph.NewTensor(graph.Tern, k, k), "gamma": graph.NewTensor(graph.F32), "head": graph.NewTensor(graph.BF16, n, k)}}
	if err := p.Load(context.Background(), src); err != nil {
		t.Fatal(err)
	}
	if len(src.log) < 2 || src.log[0] != "head" || src.log[1] != "forget head" {
		t.Errorf("weights were taken and forgotten as %q", src.log)
	}
}
