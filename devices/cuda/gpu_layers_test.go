//go:build cuda

package cuda

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// decodeShape is a model's layers in a decode step.
type decodeShape struct {
	layers, d, ff        int
	heads, kv, hd        int
	pages, size, context int // of the cache: pages, positions of one, pages of a sequence
	window               int
	seq, pos             []int32 // of each token
}

// layers binds a step of random layers. changing are operands that it changes.
func (r *decodeRig) layers(z decodeShape) (ls []devices.Launch, changing []devices.Operand) {
	norm := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	attend := bitlinear.RoPEAttendAttrs{Theta: 10000, HeadDim: z.hd, Heads: z.heads, KVHeads: z.kv, Window: z.window}
	m, q, kv := len(z.pos), z.heads*z.hd, z.kv*z.hd
	gamma, x, g, gq, gf := r.upload(graph.FromF32([]float32{0.83}), ""), r.floats(m, z.d), r.floats(z.d), r.floats(q), r.floats(z.ff)
	seq, pos := r.upload(graph.FromI32(z.seq, m), ""), r.upload(graph.FromI32(z.pos, m), "")
	sequences := int(slices.Max(z.seq)) + 1
	pages := make([]int32, sequences*z.context)
	for i, p := range r.rng.Perm(z.pages)[:len(pages)] {
		pages[i] = int32(p)
	}
	table := r.upload(graph.FromI32(pages, sequences, z.context), "")
	wq, wk, wv, wo := r.weights(z.layers, q, z.d), r.weights(z.layers, kv, z.d), r.weights(z.layers, kv, z.d), r.weights(z.layers, z.d, q)
	wg, wu, wd := r.weights(z.layers, z.ff, z.d), r.weights(z.layers, z.ff, z.d), r.weights(z.layers, z.d, z.ff)
	values := graph.NewTensor(graph.F16, z.pages, z.size, kv)
	for i := range values.U16() {
		values.U16()[i] = graph.F32ToF16(r.rng.Float32() - 0.5)
	}
	full := r.upload(values, "")
	cache := func() devices.Operand {
		o := r.operand(graph.F16, "", values.Dims...)
		r.must(r.q.Copy(o.Buf, o.Off, full.Buf, full.Off, full.Bytes()))
		return o
	}
	changing = []devices.Operand{x}
	step := func(op *graph.OpDef, attrs any, in ...devices.Operand) []devices.Operand {
		l, out := r.bound(op, attrs, in...)
		ls, changing = append(ls, l), append(changing, out...)
		return out
	}
	for i := range z.layers {
		k, v := cache(), cache()
		changing = append(changing, k, v)
		in := step(bitlinear.NormLinear3Op.OpDef, norm, x, g, wq[i], gamma, wk[i], gamma, wv[i], gamma)
		o := step(bitlinear.RoPEAttendOp.OpDef, attend, k, v, in[0], in[1], in[2], seq, pos, table)
		step(bitlinear.NormLinearAddOp.OpDef, norm, o[0], gq, wo[i], gamma, x)
		h := step(bitlinear.NormGLUOp.OpDef, norm, x, g, wg[i], gamma, wu[i], gamma)
		step(bitlinear.NormLinearAddOp.OpDef, norm, h[0], gf, wd[i], gamma, x)
	}
	return ls, changing
}

func works(ls []devices.Launch) []work {
	var ws []work
	for _, l := range ls {
		ws = append(ws, l.(work))
	}
	return ws
}

// TestLayers compares layers captured as a step, with what starts early and reads ahead,
// with the same launched one by one for any GPU: equal bits of all that they write, in
// every one of several replays.
func TestLayers(t *testing.T) {
	r := &decodeRig{newRig(t), rand.New(rand.NewPCG(3, 4))}
	all := r.d.features
	small := decodeShape{layers: 2, d: 96, ff: 200, heads: 4, kv: 2, hd: 32, pages: 40, size: 16, context: 10}
	for _, z := range []struct {
		name string
		set  func(z *decodeShape)
	}{
		{"first", func(z *decodeShape) { z.seq, z.pos = []int32{0}, []int32{0} }},
		{"block's end", func(z *decodeShape) { z.seq, z.pos = []int32{0}, []int32{63} }},
		{"block's begin", func(z *decodeShape) { z.seq, z.pos = []int32{0}, []int32{64} }},
		{"two tokens of one sequence", func(z *decodeShape) { z.seq, z.pos = []int32{0, 0}, []int32{127, 128} }},
		{"four sequences", func(z *decodeShape) { z.seq, z.pos = []int32{2, 0, 3, 1}, []int32{3, 64, 100, 159} }},
		{"window", func(z *decodeShape) { z.seq, z.pos, z.window = []int32{0, 1, 1}, []int32{150, 70, 71}, 70 }},
		{"odd sizes", func(z *decodeShape) {
			z.d, z.ff, z.heads, z.kv, z.hd = 70, 131, 3, 1, 24
			z.seq, z.pos = []int32{0, 1}, []int32{9, 90}
		}},
		{"several rounds", func(z *decodeShape) {
			z.heads, z.kv, z.hd, z.size, z.context = 4, 1, 128, 64, 36
			z.seq, z.pos = []int32{0, 0}, []int32{2239, 2240}
		}},
		{"more parts than fit", func(z *decodeShape) {
			z.heads, z.kv, z.hd, z.pages, z.size, z.context = 2, 1, 64, 72, 64, 72
			z.seq, z.pos = []int32{0, 0}, []int32{4479, 4480}
		}},
		{"three heads", func(z *decodeShape) {
			z.heads, z.kv, z.hd = 3, 1, 40
			z.seq, z.pos = []int32{3, 3, 0, 1}, []int32{98, 99, 150, 5}
		}},
		{"some sequences", func(z *decodeShape) {
			z.layers, z.heads, z.kv, z.hd, z.pages = 1, 14, 7, 128, 50
			z.seq, z.pos = []int32{0, 1, 1, 2, 3}, []int32{159, 63, 64, 100, 0}
		}},
		{"more", func(z *decodeShape) {
			z.layers, z.heads, z.kv, z.hd, z.pages, z.context = 1, 24, 12, 72, 60, 5
			for i := range 12 {
				z.seq, z.pos = append(z.seq, int32(i)), append(z.pos, int32(6*i+10))
			}
		}},
		{"many", func(z *decodeShape) {
			z.layers, z.heads, z.kv, z.hd, z.pages, z.context = 1, 42, 21, 24, 60, 5
			for i := range 12 {
				z.seq, z.pos = append(z.seq, int32(i)), append(z.pos, int32(6*i+10))
			}
		}},
		{"many tokens", func(z *decodeShape) {
			z.layers, z.heads, z.kv, z.hd, z.window = 1, 21, 21, 64, 50
			for i := range 12 {
				z.seq, z.pos = append(z.seq, int32(i/10)), append(z.pos, int32(120+i))
			}
		}},
	} {
		t.Run(z.name, func(t *testing.T) {
			r := &decodeRig{&rig{t, r.d, r.q, r.reg}, r.rng}
			shape := small
			z.set(&shape)
			seed := r.rng.Uint64()
			bind := func(features []devices.Feature) ([]devices.Launch, []devices.Operand) {
				r.d.features, r.rng = features, rand.New(rand.NewPCG(seed, 0))
				defer func() { r.d.features = all }()
				return r.layers(shape)
			}
			plain, expected := bind([]devices.Feature{"sm_80"})
			ls, changing := bind(all)
			ahead := 0
			for _, w := range hasten(works(ls)) {
				if l, ok := w.(*launch); ok && l.eager != nil && l.params.vals[l.params.n-1] == 1 {
					ahead++
				}
			}
			if all := len(shape.pos) * shape.kv; r.d.Has(sm90a) && (all < 41 || all > 247) && ahead != shape.layers {
				t.Errorf("%d kernels read ahead, want those of %d layers", ahead, shape.layers)
			}
			s, err := r.q.Capture(ls)
			r.must(err)
			for i := range 3 {
				r.must(r.q.Launch(plain...))
				r.must(s.Replay())
				for j, o := range changing {
					if want, got := r.download(expected[j]), r.download(o); !bytes.Equal(got, want) {
						t.Fatalf("replay %d: operand %d, %s%v, differs", i, j, o.Elem, o.Dims)
					}
				}
			}
			r.must(s.Free())
		})
	}
}

// TestHasten: a launch reads ahead only what no launch before it writes.
func TestHasten(t *testing.T) {
	at := func(from uint64) []extent { return []extent{{from, from + 8}} }
	ahead := func(reads, writes uint64) *launch {
		p := &params{}
		p.add("u32", 0)
		return &launch{params: p, eager: &eager{reads: at(reads), writes: at(writes)}, memory: append(at(reads), at(writes)...)}
	}
	other := &launch{params: &params{}, memory: at(100)}
	list := []work{ahead(0, 50), ahead(0, 58), ahead(55, 66), several{other, other}, ahead(8, 70), ahead(107, 80), &adam{}, ahead(16, 90)}
	want := []uint64{1, 1, 0, 0, 1, 0, 0, 0}
	for i, w := range hasten(list) {
		l, ok := w.(*launch)
		if ok && l.params.vals[0] != want[i] {
			t.Errorf("launch %d: eager is %d, want %d", i, l.params.vals[0], want[i])
		}
		if ok && list[i].(*launch).params.vals[0] != 0 {
			t.Errorf("launch %d was changed", i)
		}
	}
}
