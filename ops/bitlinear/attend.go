package bitlinear

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// RoPEAttendAttrs are those of rope_append and of attention.
type RoPEAttendAttrs struct {
	Theta   float64
	HeadDim int `ir:"head_dim"`
	Heads   int
	KVHeads int `ir:"kv_heads"`
	Window  int
}

// Attention are the attributes of the attention.
func (a RoPEAttendAttrs) Attention() ops.AttentionAttrs {
	return ops.AttentionAttrs{Heads: a.Heads, KVHeads: a.KVHeads, Window: a.Window}
}

// RoPEAttendOp rotates queries and keys, appends keys and values to the cache and
// attends over it: everything between the projections. It suits devices on which
// starting a kernel costs more than rotating again.
var RoPEAttendOp = graph.Define(graph.Def[RoPEAttendAttrs]{
	Name: "fused.rope_attend", Doc: "attention.cached of rope_append",
	Updates: []graph.Update{{In: 0, Out: 1}, {In: 1, Out: 2}},
	Uses:    []*graph.OpDef{RoPEAppendOp.OpDef, ops.CachedAttentionOp.OpDef},
	Body: `(%kc, %vc, %q, %k, %v, %seq, %pos, %table) -> (%o, %kd, %vd) {
		%qr, %kd, %vd = fused.rope_append(%kc, %vc, %q, %k, %v, %seq, %pos, %table) {theta=$theta, head_dim=$head_dim}
		%o            = attention.cached(%qr, %kd, %vd, %seq, %pos, %table) {heads=$heads, kv_heads=$kv_heads, window=$window}
	}`,
})
