package avx

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/ops/ternary"
)

// benchmark runs the device's choice for a case, on one thread.
func (c *opCase) benchmark(b *testing.B) {
	d, err := Device(Options{Threads: 1})
	if err != nil {
		b.Skip(err)
	}
	defer d.Close()
	k, _, err := devices.NewRegistry(d).Choose(&devices.Call{Op: c.op, Attrs: c.attrs, In: operands(c.in), Out: operands(c.outs(b))})
	if err != nil {
		b.Fatal(err)
	}
	_, l := c.bind(b, d, k)
	q, _ := d.NewQueue()
	seq, err := q.Capture([]devices.Launch{l})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := seq.Replay(); err != nil {
			b.Fatal(err)
		}
	}
	if err := q.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAttend is one layer of the 2B shape: steps of s tokens that end at a
// depth.
func BenchmarkAttend(b *testing.B) {
	const heads, kv, hd, size, context = 20, 5, 128, 64, 2048
	a := ops.AttentionAttrs{Heads: heads, KVHeads: kv}
	kc := halves(graph.F16, floats(1, context/size, size, kv*hd))
	table, seq := graph.NewTensor(graph.I32, 1, context/size), graph.NewTensor(graph.I32, 512)
	for i := range table.I32() {
		table.I32()[i] = int32(i)
	}
	for _, d := range []struct{ s, depth int }{{1, 128}, {1, 1024}, {128, 128}, {512, 512}} {
		pos := graph.NewTensor(graph.I32, d.s)
		for i := range pos.I32() {
			pos.I32()[i] = int32(d.depth - d.s + i)
		}
		seq.Dims, seq.Data = []int{d.s}, seq.Data[:4*d.s]
		c := opCase{op: ops.CachedAttentionOp.OpDef, attrs: a, in: []graph.Tensor{floats(2, d.s, heads*hd), kc, kc, seq.Clone(), pos, table}}
		b.Run(fmt.Sprintf("s=%d/depth=%d", d.s, d.depth), func(b *testing.B) {
			c.benchmark(b)
			pairs := d.s*(d.depth-d.s) + d.s*(d.s+1)/2
			b.ReportMetric(2*float64(b.N*pairs*heads*hd)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
		seq.Data = seq.Data[:cap(seq.Data)]
	}
}

// BenchmarkAttendCold decodes one token at a depth over the caches of several
// layers, which together no processor cache holds, and reports GB/s.
func BenchmarkAttendCold(b *testing.B) {
	const heads, kv, hd, size, depth, layers = 20, 5, 128, 32, 3072, 12
	a := ops.AttentionAttrs{Heads: heads, KVHeads: kv}
	kc := halves(graph.F16, floats(1, depth/size, size, kv*hd))
	table := graph.NewTensor(graph.I32, 1, depth/size)
	for i := range table.I32() {
		table.I32()[i] = int32(i)
	}
	q, seq, pos := floats(2, 1, heads*hd), graph.NewTensor(graph.I32, 1), graph.FromI32([]int32{depth - 1}, 1)
	cache := opCase{op: ops.CachedAttentionOp.OpDef, attrs: a, in: []graph.Tensor{q, kc, kc, seq, pos, table}}
	bytes := 2 * len(kc.Data)
	codes, steps := graph.NewTensor(graph.I8, kc.Dims...), floats(3, depth/size, size, kv)
	for i := range codes.I8() {
		codes.I8()[i] = int8((i*7919>>5)%255 - 127)
	}
	for i, v := range steps.F32() {
		steps.F32()[i] = max(v, -v) / 40
	}
	inCodes := opCase{op: ops.CachedAttentionCodesOp.OpDef, attrs: a, in: []graph.Tensor{q, codes, steps, codes, steps, seq, pos, table}}
	for _, e := range []graph.DType{graph.F16, graph.I8} {
		c := cache
		if e == graph.I8 {
			c, bytes = inCodes, 2*(len(codes.Data)+len(steps.Data))
		}
		attendCold(b, e.String(), c, bytes, layers)
	}
}

func attendCold(b *testing.B, name string, c opCase, bytes, layers int) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("%s/threads=%d", name, threads), func(b *testing.B) {
			d, err := Device(Options{Threads: threads})
			if err != nil {
				b.Skip(err)
			}
			defer d.Close()
			k, _, err := devices.NewRegistry(d).Choose(&devices.Call{Op: c.op, Attrs: c.attrs, In: operands(c.in), Out: operands(c.outs(b))})
			if err != nil {
				b.Fatal(err)
			}
			var ls []devices.Launch
			for range layers {
				_, l := c.bind(b, d, k)
				ls = append(ls, l)
			}
			q, _ := d.NewQueue()
			seq, err := q.Capture(ls)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := seq.Replay(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*layers*bytes)/b.Elapsed().Seconds()/1e9, "GB/s")
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N*layers), "µs/layer")
		})
	}
}

// BenchmarkAttentionTrain is one layer of training, forward and backward.
func BenchmarkAttentionTrain(b *testing.B) {
	const heads, kv, hd, rows, width = 4, 2, 64, 8, 128
	seq, pos := graph.NewTensor(graph.I32, rows*width), graph.NewTensor(graph.I32, rows*width)
	for i := range seq.I32() {
		seq.I32()[i], pos.I32()[i] = int32(i/width), int32(i%width)
	}
	a := ops.AttentionAttrs{Heads: heads, KVHeads: kv}
	q, k, o := floats(1, rows*width, heads*hd), floats(2, rows*width, kv*hd), floats(3, rows*width, heads*hd)
	fwd := opCase{op: ops.AttentionOp.OpDef, attrs: a, in: []graph.Tensor{q, k, k, seq, pos}}
	b.Run("forward", fwd.benchmark)
	bwd := opCase{op: ops.AttentionGradOp.OpDef, attrs: a, in: []graph.Tensor{q, k, k, o, floats(4, rows*width, heads), o, seq, pos}}
	b.Run("backward", bwd.benchmark)
}

// BenchmarkGroupMatMul is a projection of the 2B shape with a scale for each 128
// weights, beside ternary.matmul of the same codes.
func BenchmarkGroupMatMul(b *testing.B) {
	const k, n, group = 2560, 2560, 128
	codes, scales := graph.NewTensor(graph.Tern, n, k), floats(1, n, k/group)
	for i := range codes.I8() {
		codes.I8()[i] = int8(i*7%3 - 1)
	}
	for _, m := range []int{1, 16, 256} {
		q := graph.NewTensor(graph.I8, m, k)
		for i := range q.I8() {
			q.I8()[i] = int8(i * 31)
		}
		rate := func(b *testing.B, c opCase) {
			c.benchmark(b)
			b.ReportMetric(float64(b.N)*float64(m*k*n)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		}
		b.Run(fmt.Sprintf("groups/m=%d", m), func(b *testing.B) {
			s := floats(2, m, 1)
			rate(b, opCase{op: ternary.GroupMatMulOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, s, codes, scales}})
		})
		b.Run(fmt.Sprintf("matrix/m=%d", m), func(b *testing.B) {
			rate(b, opCase{op: ternary.MatMulOp.OpDef, attrs: graph.None{}, in: []graph.Tensor{q, codes}})
		})
	}
}

// BenchmarkScreenTop is the screened head of 32 thousand tokens for a step of s, with
// random weights as trit bench has them.
func BenchmarkScreenTop(b *testing.B) {
	const n, k = 32768, 2560
	d := newDevice(b, Options{Threads: 1}).(*host.Device)
	r := rand.New(rand.NewPCG(1, 1))
	w := graph.NewTensor(graph.BF16, n, k)
	for i := range w.U16() {
		w.U16()[i] = graph.F32ToBF16(r.Float32() - 0.5)
	}
	planes := launch(b, d, screen.PlanesOp.OpDef, graph.None{}, w)
	for _, s := range []int{1, 4, 16} {
		keep := graph.NewTensor(graph.I32, s)
		for i := range keep.I32() {
			keep.I32()[i] = 1
		}
		c := opCase{op: screen.TopOp.OpDef, attrs: graph.None{}, in: append([]graph.Tensor{floats(2, s, k), keep, w}, planes...)}
		b.Run(fmt.Sprintf("s=%d", s), func(b *testing.B) {
			c.benchmark(b)
			b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*s), "ms/token")
		})
	}
}

// BenchmarkDistill is the losses of distillation for 1024 tokens: predictions over a
// vocabulary of 8192, and relations of 8 sequences in 4 heads of 64, each beside the
// reference that runs where there is no kernel.
func BenchmarkDistill(b *testing.B) {
	const rows, vocab, width, heads = 1024, 8192, 256, 4
	targets, seq := graph.NewTensor(graph.I32, rows), graph.NewTensor(graph.I32, rows)
	for i := range seq.I32() {
		seq.I32()[i] = int32(i / 128)
	}
	for _, c := range []opCase{
		{op: ops.DistillOp.OpDef, attrs: ops.DistillAttrs{Temperature: 1, Ignore: -100}, in: []graph.Tensor{floats(1, rows, vocab), floats(2, rows, vocab), targets}},
		{op: ops.RelationOp.OpDef, attrs: ops.RelationAttrs{Heads: heads}, in: []graph.Tensor{floats(1, rows, width), floats(2, rows, width), seq}},
	} {
		b.Run(c.op.Name+"/avx", c.benchmark)
		b.Run(c.op.Name+"/ref", func(b *testing.B) {
			out := c.outs(b)
			for b.Loop() {
				if err := c.op.Run(c.attrs, c.in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
