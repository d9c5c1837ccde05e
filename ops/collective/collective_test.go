package collective_test

import (
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

// TestOps holds the ops to their definitions, with the one rank that a
// reference knows; host's tests run them over several.
func TestOps(t *testing.T) {
	x := graph.FromF32([]float32{1, -2, 3, 4, 0.5, 6}, 3, 2)
	alone := collective.Attrs{Ranks: 1}
	opcheck.Run(t, collective.All(), map[string][]opcheck.Case{
		"all_reduce":          {{Attrs: collective.ReduceAttrs{Ranks: 1}, In: []graph.Tensor{x}, Sym: 3}},
		"all_reduce.in_place": {{Attrs: collective.ReduceAttrs{Ranks: 1}, In: []graph.Tensor{x}, Sym: 3}},
		"reduce_scatter":      {{Attrs: alone, In: []graph.Tensor{x}}},
		"gather_columns":      {{Attrs: collective.ReduceAttrs{Ranks: 1}, In: []graph.Tensor{x}, Sym: 3}},
		"all_gather":          {{Attrs: alone, In: []graph.Tensor{x}, Sym: 3}},
	})
}

func TestAllListsEveryOp(t *testing.T) { opcheck.Listed(t, collective.All(), nil) }

func TestRefusals(t *testing.T) {
	x := graph.T(graph.F32, graph.C(5))
	for _, tt := range []struct {
		op    *graph.OpDef
		attrs any
		in    graph.Type
		want  string
	}{
		{collective.AllReduceOp.OpDef, collective.ReduceAttrs{}, x, "rank 0 of 0"},
		{collective.ReduceScatterOp.OpDef, collective.Attrs{Ranks: 2, Rank: 2}, x, "rank 2 of 2"},
		{collective.AllGatherOp.OpDef, collective.Attrs{Ranks: 2, Rank: -1}, x, "rank -1 of 2"},
		{collective.AllReduceOp.OpDef, collective.ReduceAttrs{Ranks: 2}, graph.T(graph.I32, graph.C(5)), "x is i32[5]"},
	} {
		if _, err := tt.op.InferTypes(tt.attrs, []graph.Type{tt.in}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.op.Name, err, tt.want)
		}
	}
	out := []graph.Tensor{graph.NewTensor(graph.F32, 5)}
	err := collective.AllReduceOp.Run(collective.ReduceAttrs{Ranks: 2}, []graph.Tensor{graph.NewTensor(graph.F32, 5)}, out)
	if err == nil || !strings.Contains(err.Error(), "joined to a communicator") {
		t.Errorf("%v", err)
	}
}
