package avx

import (
	"errors"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/internal/pool"
	"github.com/trit-ml/trit/ops"
)

// TestBadData gives kernels ids and positions that lie outside their tables: the
// queue must report it, as an error and not a panic.
func TestBadData(t *testing.T) {
	table := floats(1, 5, 8)
	bad := func(v int32) graph.Tensor { return graph.FromI32([]int32{0, v}, 2) }
	cache := floats(2, 4, 4, 8)
	blocks := graph.FromI32([]int32{0, 1, 2, 99}, 1, 4)
	kv := floats(3, 2, 8)
	at := ops.AttentionAttrs{Heads: 2, KVHeads: 2}
	zero := bad(0)
	cases := []struct {
		opCase
		want string
	}{
		{opCase{op: ops.EmbeddingOp.OpDef, in: []graph.Tensor{table, bad(5)}}, "id 5 at 1"},
		{opCase{op: ops.EmbeddingOp.OpDef, in: []graph.Tensor{table, bad(-1)}}, "id -1 at 1"},
		{opCase{op: ops.EmbeddingGradOp.OpDef, attrs: ops.EmbeddingGradAttrs{Rows: 5}, in: []graph.Tensor{bad(7), kv}}, "id 7 at 1"},
		{opCase{op: ops.RowsOp.OpDef, in: []graph.Tensor{table, bad(9)}}, "row 9 at 1"},
		{opCase{op: ops.KVAppendOp.OpDef, in: []graph.Tensor{cache, cache, kv, kv, zero, bad(16), blocks}}, "token 1"},
		{opCase{op: ops.KVAppendOp.OpDef, in: []graph.Tensor{cache, cache, kv, kv, zero, bad(13), blocks}}, "block 99"},
		{opCase{op: ops.CachedAttentionOp.OpDef, attrs: at, in: []graph.Tensor{kv, cache, cache, zero, bad(13), blocks}}, "block 99"},
		{opCase{op: ops.CachedAttentionOp.OpDef, attrs: at, in: []graph.Tensor{kv, cache, cache, bad(1), zero, blocks}}, "sequence 1"},
	}
	for _, o := range everyISA {
		d := newDevice(t, o).(*host.Device)
		for i := range cases {
			c := &cases[i]
			if c.attrs == nil {
				c.attrs = graph.None{}
			}
			c.name = c.op.Name
			k, _, err := devices.NewRegistry(d).Choose(&devices.Call{Op: c.op, Attrs: c.attrs, In: operands(c.in), Out: operands(c.outs(t))})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.run(t, d, k)
			var p *pool.PanicError
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &p) {
				t.Errorf("%s on %s: error is %v, want one about %q", k.Name, d.Name(), err, c.want)
			}
		}
	}
}

// TestDevice checks names and what a device says when it cannot be had.
func TestDevice(t *testing.T) {
	if _, err := Device(Options{Off: "-all"}); err == nil || !strings.Contains(err.Error(), "avx2") {
		t.Errorf("without features: error %v, want one that names avx2", err)
	}
	if _, err := Device(Options{Off: "-nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("bad toggle: error %v", err)
	}
	d, err := Device(Options{Off: "-all", Portable: true})
	if err != nil || d.Name() != "generic" || d.Has("avx2") {
		t.Errorf("portable device: %v, %v", d, err)
	}
	_ = d.Close()
}
