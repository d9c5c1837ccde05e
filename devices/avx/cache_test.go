package avx

import (
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// TestAttendAlone compares tokens attended together with the same tokens alone,
// bit for bit: together they go through packed products, alone through spans of
// their own.
func TestAttendAlone(t *testing.T) {
	attendAlone(t, 70, 310, 50)
	attendAlone(t, 9, 3400, 430) // deep enough for tasks of all heads
}

// attendAlone takes s tokens from a position on in a cache of so many blocks.
func attendAlone(t *testing.T, s, start, blocks int) {
	const heads, kv, hd, size = 6, 2, 24, 16
	table := graph.NewTensor(graph.I32, 2, blocks/2)
	for i := range table.I32() {
		table.I32()[i] = int32(i * 7 % blocks)
	}
	for _, window := range []int{0, 40, 300} {
		a := ops.AttentionAttrs{Heads: heads, KVHeads: kv, Window: window}
		for _, e := range []graph.DType{graph.F32, graph.F16, graph.BF16, graph.I8} {
			op := ops.CachedAttentionOp.OpDef
			caches := []graph.Tensor{floats(1, blocks, size, kv*hd), floats(2, blocks, size, kv*hd)}
			if e == graph.F16 || e == graph.BF16 {
				caches = []graph.Tensor{halves(e, caches[0]), halves(e, caches[1])}
			}
			if e == graph.I8 {
				op = ops.CachedAttentionCodesOp.OpDef
				codes, steps := graph.NewTensor(e, blocks, size, kv*hd), floats(2, blocks, size, kv)
				for i := range codes.I8() {
					codes.I8()[i] = int8(i%255 - 127)
				}
				for i, v := range steps.F32() {
					steps.F32()[i] = max(v, -v) / 100
				}
				caches = []graph.Tensor{codes, steps, codes, steps}
			}
			with := func(q, seq, pos graph.Tensor) []graph.Tensor {
				return append(append([]graph.Tensor{q}, caches...), seq, pos, table)
			}
			q, seq, pos := floats(3, s, heads*hd), graph.NewTensor(graph.I32, s), graph.NewTensor(graph.I32, s)
			for i := range s {
				seq.I32()[i], pos.I32()[i] = int32(i/40), int32(start+i)
			}
			together := opCase{name: "together", op: op, attrs: a, in: with(q, seq, pos)}
			for _, o := range everyISA {
				d := newDevice(t, o).(*host.Device)
				k, _, err := devices.NewRegistry(d).Choose(&devices.Call{Op: together.op, Attrs: a, In: operands(together.in), Out: operands(together.outs(t))})
				if err != nil {
					t.Fatal(err)
				}
				all, err := together.run(t, d, k)
				if err != nil {
					t.Fatal(err)
				}
				for i := range s {
					alone := together
					w := heads * hd
					alone.in = with(graph.FromF32(q.F32()[i*w:(i+1)*w], 1, w), graph.FromI32(seq.I32()[i:i+1], 1), graph.FromI32(pos.I32()[i:i+1], 1))
					got, err := alone.run(t, d, k)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got[0].F32(), all[0].F32()[i*w:(i+1)*w]) {
						t.Fatalf("%s, cache %s, window %d: token %d alone has other bits than in a step of %d", d.Name(), e, window, i, s)
					}
				}
			}
		}
	}
}
