package train

import (
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
)

// sharded reports whether a state is one part of a tensor.
func (e *Engine) sharded(state string) bool {
	_, size := e.recipe.Scale.ranks()
	return size > 1 && e.recipe.Scale.Shard && (strings.HasPrefix(state, passes.Moment1) || strings.HasPrefix(state, passes.Moment2))
}

// writeState sets a state from the whole tensor, of which a sharded one takes
// this rank's part.
func (e *Engine) writeState(ctx context.Context, state string, t graph.Tensor) error {
	if !e.sharded(state) {
		return e.states().WriteState(ctx, state, t)
	}
	rank, size := e.recipe.Scale.ranks()
	n := len(t.F32())
	part := graph.NewTensor(graph.F32, ops.PartSize(n, size))
	from, to := ops.PartBounds(n, rank, size)
	copy(part.F32(), t.F32()[from:to])
	return e.states().WriteState(ctx, state, part)
}

// readState puts a copy of a state into to, if it is for this rank to keep. A
// sharded one is put together from all ranks, so that all must take part.
func (e *Engine) readState(ctx context.Context, state, name string, to map[string]graph.Tensor, mine bool) error {
	t, ok := to[name]
	if !e.sharded(state) {
		switch {
		case !mine:
			return nil
		case ok:
			return e.states().ReadStateTo(ctx, state, t)
		}
		t, err := e.states().ReadState(ctx, state)
		if err == nil {
			to[name] = t
		}
		return err
	}
	part, err := e.states().ReadState(ctx, state)
	if err != nil {
		return err
	}
	rank, size := e.recipe.Scale.ranks()
	k := len(part.F32())
	if len(e.pieces) < k*size {
		e.pieces = make([]float32, k*size)
	}
	all := e.pieces[:k*size]
	copy(all[k*rank:], part.F32())
	at, n := make([]int, size), make([]int, size)
	for r := range size {
		at[r], n[r] = 4*k*r, 4*k
	}
	if err := e.recipe.Scale.Ranks.AllGather(unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), 4*len(all)), at, n); err != nil {
		return err
	}
	if !mine {
		return nil
	}
	if !ok {
		dims, err := e.dims(name)
		if err != nil {
			return err
		}
		t = graph.NewTensor(graph.F32, dims...)
		to[name] = t
	}
	copy(t.F32(), all)
	return nil
}

// dims is the shape of the param that a moment belongs to.
func (e *Engine) dims(moment string) ([]int, error) {
	for _, p := range e.loss.Params() {
		if name := graph.SourceName(p); moment == passes.Moment1+name || moment == passes.Moment2+name {
			return p.Out[0].Shape.Eval(nil)
		}
	}
	return nil, fmt.Errorf("no param for %q", moment)
}
