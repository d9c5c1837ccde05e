package avx

import (
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/conformance"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// TestConformance holds every kernel of every instruction set to its op's
// reference, then their twins in plain Go.
func TestConformance(t *testing.T) {
	threads := func(n int) devices.Device { return own{newDevice(t, Options{Threads: n})} }
	t.Run("native", func(t *testing.T) {
		conformance.Run(t, own{newDevice(t, Options{})}, conformance.Options{Ops: crossing(), Threads: threads})
	})
	t.Run("portable", func(t *testing.T) {
		conformance.Run(t, own{newDevice(t, Options{Off: "-all", Portable: true})}, conformance.Options{})
	})
}

// TestToggles switches off what the AVX2 kernels need beside AVX2: the device says
// so, and with Portable it takes the kernels in plain Go, which the suite's portable
// run holds to the reference, and only them.
func TestToggles(t *testing.T) {
	for _, off := range []string{"fma", "f16c", "avx2"} {
		d, err := Device(Options{Off: "-" + off})
		if err == nil {
			d.Close()
			t.Errorf("without %s there is still the device %s", off, d.Name())
		} else if !strings.Contains(err.Error(), "fma") || !strings.Contains(err.Error(), "use the ref device") {
			t.Errorf("without %s: %v", off, err)
		}
		p := newDevice(t, Options{Off: "-" + off, Portable: true})
		for _, k := range p.Kernels() {
			if k.Op != nil && !strings.HasSuffix(k.Name, ".generic") {
				t.Errorf("without %s: kernel %s", off, k.Name)
			}
		}
		if name := p.Name(); name != "generic" {
			t.Errorf("without %s the portable device is %s", off, name)
		}
	}
}

// own is a device without the fallback, which is tested where it lives.
type own struct{ devices.Device }

func (d own) Kernels() []devices.Kernel {
	return slices.DeleteFunc(slices.Clone(d.Device.Kernels()), func(k devices.Kernel) bool { return k.Op == nil })
}

func newDevice(t testing.TB, o Options) devices.Device {
	t.Helper()
	d, err := Device(o)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// crossing adds cases at which this device's kernels split work: several tiles,
// blocks, spans and tasks.
func crossing() map[*graph.OpDef]conformance.Op {
	known, more := conformance.Known(), map[*graph.OpDef]conformance.Op{}
	add := func(op *graph.OpDef, cases func(r *conformance.Rand) []conformance.Case) {
		k := known[op]
		more[op] = conformance.Op{Tol: k.Tol, Cases: func(r *conformance.Rand) []conformance.Case {
			return append(k.Cases(r), cases(r)...)
		}}
	}
	add(ternary.MatMulOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		var cs []conformance.Case
		for _, s := range [][3]int{{1, 700, 2560}, {3, 130, 300}, {14, 100, 257}, {270, 70, 48}} {
			cs = append(cs, conformance.Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(s[0], s[2]), r.Tern(s[1], s[2])}, Rows: []int{0}})
		}
		return cs
	})
	for op, n := range map[*graph.OpDef]int{bitlinear.IntLinearOp.OpDef: 1, bitlinear.IntLinear2Op.OpDef: 2, bitlinear.IntLinear3Op.OpDef: 3} {
		add(op, func(r *conformance.Rand) []conformance.Case {
			var cs []conformance.Case
			for _, s := range []int{1, 70, 257} {
				c := conformance.Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(s, 100), r.Fill(3, s, 1)}, Rows: []int{0, 1}}
				for i := range n {
					c.In = append(c.In, r.Tern(90+40*i, 100), r.Fill(0.7))
				}
				cs = append(cs, c)
			}
			return cs
		})
	}
	add(bitlinear.LinearAddOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: graph.None{}, Rows: []int{0, 1, 4},
			In: []graph.Tensor{r.I8(260, 40), r.Fill(3, 260, 1), r.Tern(150, 40), r.Fill(0.7), r.F32(260, 150)}}}
	})
	add(ops.MatMulOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		var cs []conformance.Case
		for _, at := range []ops.MatMulAttrs{{}, {TA: true}, {TB: true}, {TA: true, TB: true}} {
			a, b := []int{100, 520}, []int{520, 300}
			if at.TA {
				a = []int{520, 100}
			}
			if at.TB {
				b = []int{300, 520}
			}
			cs = append(cs, conformance.Case{Attrs: at, In: []graph.Tensor{r.F32(a...), r.F32(b...)}})
		}
		return append(cs, conformance.Case{Attrs: ops.MatMulAttrs{TB: true}, In: []graph.Tensor{r.F32(2, 1024), r.Half(graph.BF16, 200, 1024)}})
	})
	add(ternary.QuantizeOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: ternary.AbsMean, In: []graph.Tensor{r.F32(300, 500)}}, {Attrs: ternary.AbsMean, In: []graph.Tensor{r.Half(graph.F16, 70, 999)}}}
	})
	add(ternary.FakeOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: ternary.AbsMean, In: []graph.Tensor{r.F32(300, 500)}}}
	})
	add(ops.RMSNormGradOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: ops.NormAttrs{Eps: 1e-5}, In: []graph.Tensor{r.F32(100, 70), r.F32(70), r.F32(100, 70)}}}
	})
	add(ops.RoPEOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: ops.RoPEAttrs{Theta: 10000, HeadDim: 24}, Rows: []int{0, 1}, Note: "beyond the tables",
			In: []graph.Tensor{r.F32(3, 48), r.I32(angleBlock*angleBlocks, angleBlock*angleBlocks+9, 3)}}}
	})
	for op, grad := range map[*graph.OpDef]bool{ops.AttentionOp.OpDef: false, ops.AttentionGradOp.OpDef: true} {
		add(op, func(r *conformance.Rand) []conformance.Case { return longAttention(r, grad) })
	}
	add(ops.CachedAttentionOp.OpDef, longCached)
	add(ops.CrossEntropyOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: ops.IgnoreAttrs{Ignore: -100}, In: []graph.Tensor{r.F32(3, 20000), r.I32(0, 20000, 3)}}}
	})
	return more
}

// longAttention is steps of several blocks: sequences that cross them, windows,
// and sequences that alternate.
func longAttention(r *conformance.Rand, grad bool) []conformance.Case {
	var cs []conformance.Case
	for _, d := range []struct {
		lens      []int
		window    int
		alternate bool
	}{{lens: []int{100, 1, 49}}, {lens: []int{150}, window: 9}, {lens: []int{35, 35}, alternate: true}, {lens: []int{40, 40}, window: 5, alternate: true}} {
		s := 0
		for _, n := range d.lens {
			s += n
		}
		seq, pos := graph.NewTensor(graph.I32, s), graph.NewTensor(graph.I32, s)
		at := 0
		for i, n := range d.lens {
			for p := range n {
				j := at
				if d.alternate {
					j = p*len(d.lens) + i
				}
				seq.I32()[j], pos.I32()[j] = int32(i+2), int32(p)
				at++
			}
		}
		a := ops.AttentionAttrs{Heads: 4, KVHeads: 2, Window: d.window}
		in := []graph.Tensor{r.F32(s, 4*20), r.F32(s, 2*20), r.F32(s, 2*20), seq, pos}
		if grad {
			o, lse := graph.NewTensor(graph.F32, s, 4*20), graph.NewTensor(graph.F32, s, 4)
			if err := ops.AttentionOp.Run(a, in, []graph.Tensor{o, lse}); err != nil {
				continue
			}
			in = []graph.Tensor{in[0], in[1], in[2], o, lse, r.F32(s, 4*20), seq, pos}
		}
		cs = append(cs, conformance.Case{Attrs: a, In: in})
	}
	return cs
}

// longCached is sequences of several spans: one token, few and many.
func longCached(r *conformance.Rand) []conformance.Case {
	var cs []conformance.Case
	const size, width = 16, 45
	for _, s := range []int{1, 3, 50} {
		for _, window := range []int{0, 50, 300} {
			table := graph.NewTensor(graph.I32, 2, width)
			for i := range table.I32() {
				table.I32()[i] = int32(i * 7 % (2 * width))
			}
			seq, pos := graph.NewTensor(graph.I32, s), graph.NewTensor(graph.I32, s)
			for i := range s {
				seq.I32()[i], pos.I32()[i] = int32(2*i/s), int32(600+i)
			}
			cs = append(cs, conformance.Case{Attrs: ops.AttentionAttrs{Heads: 4, KVHeads: 2, Window: window}, Rows: []int{0, 3, 4},
				In: []graph.Tensor{r.F32(s, 4*24), r.Half(graph.F16, 2*width, size, 48), r.Half(graph.F16, 2*width, size, 48), seq, pos, table}})
		}
	}
	return cs
}
