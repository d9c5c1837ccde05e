//go:build cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/ops"
)

// shape2B4T is a decode step of the 2B4T model for m sequences of `depth` tokens.
func shape2B4T(m, depth int) decodeShape {
	z := decodeShape{layers: 30, d: 2560, ff: 6912, heads: 20, kv: 5, hd: 128, pages: 64 * m, size: 64, context: 64}
	for i := range m {
		z.seq, z.pos = append(z.seq, int32(i)), append(z.pos, int32(depth))
	}
	return z
}

// BenchmarkLayers is the layers of a 2B4T step: all of a layer, its products alone, and
// its attention alone.
func BenchmarkLayers(b *testing.B) {
	r := newRig(b)
	for _, z := range []struct{ m, depth int }{{1, 512}, {1, 3000}, {4, 512}, {16, 512}, {64, 512}} {
		b.Run(fmt.Sprintf("M=%d/depth=%d", z.m, z.depth), func(b *testing.B) {
			r := &decodeRig{&rig{b, r.d, r.q, r.reg}, rand.New(rand.NewPCG(1, 2))}
			shape := shape2B4T(z.m, z.depth)
			ls, _ := r.layers(shape)
			bytes := shape.layers * unitBytes * (units(shape.d)*(2*shape.d+2*shape.kv*shape.hd+2*shape.ff) + units(shape.ff)*shape.d)
			for _, of := range []string{"all", "products", "attention"} {
				const period = 5 // launches of a layer, of which the second is attention
				var part []devices.Launch
				for i, l := range ls {
					if of == "all" || (of == "attention") == (i%period == 1) {
						part = append(part, l)
					}
				}
				b.Run(of, func(b *testing.B) {
					per := (&decodeRig{&rig{b, r.d, r.q, r.reg}, r.rng}).replay(b, part)
					b.ReportMetric(per*1e6/float64(shape.layers), "µs/layer")
					if of != "attention" {
						b.ReportMetric(float64(bytes)/per/1e9, "GB/s")
					}
				})
			}
		})
	}
}

// BenchmarkReplay is what a step takes besides its kernels: a replay of one small kernel;
// the same with eight inputs of a few words before it and a result behind it; of 30 such
// kernels, each step awaited, and only every 16th; and of 150.
func BenchmarkReplay(b *testing.B) {
	r := newRig(b)
	for _, z := range []struct {
		name                   string
		inputs, kernels, steps int
	}{{"one", 0, 1, 1}, {"inputs", 8, 1, 1}, {"30", 8, 30, 1}, {"30/ahead", 8, 30, 16}, {"150", 0, 150, 1}} {
		b.Run(z.name, func(b *testing.B) {
			r := &decodeRig{&rig{b, r.d, r.q, r.reg}, rand.New(rand.NewPCG(1, 2))}
			x, g := r.floats(1, 2560), r.floats(2560)
			l, _ := r.bound(ops.RMSNormOp.OpDef, ops.NormAttrs{Eps: 1e-5}, x, g)
			seq, err := r.q.Capture(slices.Repeat([]devices.Launch{l}, z.kernels))
			r.must(err)
			in, out := make([]byte, 16), make([]byte, 64)
			for i := 0; b.Loop(); i++ {
				for i := range z.inputs {
					r.must(r.q.Write(x.Buf, x.Off+256*i, in))
				}
				r.must(seq.Replay())
				if z.inputs > 0 {
					r.must(r.q.Read(out, x.Buf, x.Off))
				}
				if i%z.steps == 0 {
					r.sync()
				}
			}
			r.sync()
			r.must(seq.Free())
		})
	}
}
