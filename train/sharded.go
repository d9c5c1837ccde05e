package train

import (
	"context"
	"fmt"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
)

// sharded reports whether a state is one part of a tensor.
func (e *Engine) sharded(state string) bool {
	_, size := e.recipe.Scale.ranks()
	return size > 1 && e.recipe.Scale.Shard && (strings.HasPrefix(state, passes.Moment1) || strings.HasPrefix(state, passes.Moment2))
}

// writeState sets a state. A sharded one takes this rank's part of the whole
// tensor, or t itself if it is that part, one of parts, already.
func (e *Engine) writeState(ctx context.Context, state string, t graph.Tensor, parts int) error {
	if !e.sharded(state) {
		return e.states().WriteState(ctx, state, t)
	}
	rank, size := e.recipe.Scale.ranks()
	if parts <= 1 {
		part := graph.NewTensor(graph.F32, ops.PartSize(t.Len(), size))
		from, to := ops.PartBounds(t.Len(), rank, size)
		copy(part.F32(), t.F32()[from:to])
		t = part
	} else if parts != size {
		return fmt.Errorf("one of %d parts for %d ranks", parts, size)
	}
	return e.states().WriteState(ctx, state, t)
}
