//go:build cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/ternary"
)

// copyBandwidth is what a large copy moves, in bytes read and written a second.
func (r *rig) copyBandwidth() float64 {
	const n, times = 1 << 30, 10
	a, err := r.d.Alloc(n)
	r.must(err)
	b, err := r.d.Alloc(n)
	r.must(err)
	r.must(r.q.Copy(b, 0, a, 0, n))
	r.sync()
	start := time.Now()
	for range times {
		r.must(r.q.Copy(b, 0, a, 0, n))
	}
	r.sync()
	bw := 2 * n * times / time.Since(start).Seconds()
	r.must(a.Free())
	r.must(b.Free())
	return bw
}

// BenchmarkTernaryMatMul replays a graph of products over weights that together
// are several times the L2 cache.
func BenchmarkTernaryMatMul(b *testing.B) {
	r := newRig(b)
	bw := r.copyBandwidth()
	b.Logf("%v; copy %.0f GB/s", r.d.Info(), bw/1e9)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, z := range []size3{
		{1, 2560, 2560}, {1, 3840, 2560}, {1, 13824, 2560}, {1, 2560, 6912},
		{8, 13824, 2560}, {64, 13824, 2560},
	} {
		b.Run(fmt.Sprintf("M=%d/N=%d/K=%d", z.m, z.n, z.k), func(b *testing.B) {
			r := &rig{b, r.d, r.q, r.reg}
			_, in := example(ternary.MatMulOp.OpDef, z, rng)
			k := r.choose(ternary.MatMulOp.OpDef, graph.None{}, in)
			w := z.n * units(z.k) * unitBytes
			copies := max(4, 192<<20/w)
			arena, err := r.d.Alloc(copies * w)
			r.must(err)
			packed := r.upload(in[1], i2x64)
			q := r.upload(in[0], "")
			out := r.operand(graph.I32, "", z.m, z.n)
			var ls []devices.Launch
			for i := range copies {
				r.must(r.q.Copy(arena, i*w, packed.Buf, packed.Off, w))
				l, err := k.Bind(&devices.Call{Op: k.Op, Attrs: graph.None{}, Out: []devices.Operand{out},
					In: []devices.Operand{q, {Elem: graph.Tern, Dims: in[1].Dims, Layout: i2x64, Buf: arena, Off: i * w}}})
				r.must(err)
				ls = append(ls, l)
			}
			seq, err := r.q.Capture(ls)
			r.must(err)
			r.must(seq.Replay())
			r.sync()
			for b.Loop() {
				r.must(seq.Replay())
				r.sync()
			}
			per := b.Elapsed().Seconds() / float64(b.N*copies)
			b.ReportMetric(per*1e6, "µs/product")
			b.ReportMetric(100*float64(w)/per/bw, "%copy")
			b.ReportMetric(2*float64(z.m)*float64(z.n)*float64(z.k)/per/1e12, "Tops")
			r.must(seq.Free())
			r.must(arena.Free())
		})
	}
}

// BenchmarkStep is the cost of the contract itself: write a token, replay a
// graph of one small kernel, read a result, wait.
func BenchmarkStep(b *testing.B) {
	r := newRig(b)
	z := size3{1, 64, 64}
	c := r.newChain(z, newWeights(z, rand.New(rand.NewPCG(1, 3))))
	seq, err := r.q.Capture(c.launches)
	r.must(err)
	src, dst := make([]byte, 4), make([]byte, 4)
	r.sync()
	b.Run("replay", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.must(seq.Replay())
		}
		r.sync()
	})
	b.Run("write+replay+read+sync", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.must(r.q.Write(c.x.Buf, c.x.Off, src))
			r.must(seq.Replay())
			r.must(r.q.Read(dst, c.out.Buf, c.out.Off))
			r.must(r.q.Sync(b.Context()))
		}
	})
	b.Run("launches+sync", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.must(r.q.Launch(c.launches...))
			r.must(r.q.Sync(b.Context()))
		}
	})
	r.must(seq.Free())
}

// BenchmarkCapture is what a new plan costs: capturing and instantiating as
// many launches as a step of a 30-layer model has.
func BenchmarkCapture(b *testing.B) {
	r := newRig(b)
	c := r.newChain(size3{1, 64, 64}, newWeights(size3{1, 64, 64}, rand.New(rand.NewPCG(1, 4))))
	var ls []devices.Launch
	for len(ls) < 300 {
		ls = append(ls, c.launches...)
	}
	for b.Loop() {
		seq, err := r.q.Capture(ls)
		r.must(err)
		r.must(seq.Replay())
		r.sync()
		r.must(seq.Free())
	}
	seq, err := r.q.Capture(ls)
	r.must(err)
	r.must(seq.Replay())
	r.sync()
	start := time.Now()
	const replays = 100
	for range replays {
		r.must(seq.Replay())
	}
	r.sync()
	b.ReportMetric(time.Since(start).Seconds()*1e9/replays/float64(len(ls)), "ns/node")
	r.must(seq.Free())
}
