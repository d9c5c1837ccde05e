// Package collective declares ops whose results depend on the operands of every
// rank: of all processes that run the same program on their part of the data.
//
// A program with such ops runs on a device that was joined to a communicator
// (devices.Joiner). Every rank gets the same bits. On a CPU sums add rank 0
// first, then rank 1 and so on, one element at a time: they are also the same
// with every engine, and the same as one process gets that adds the same values
// one after another. A device with collectives of its own may add in another
// order, which for two ranks changes nothing; for N, a sum of x differs from
// that in the order of ranks by at most 2(N-1)·2⁻²⁴·Σ|x|, to first order.
// With one rank each op is the identity, which is what their references compute.
package collective

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{AllReduceOp.OpDef, AllReduceInPlaceOp.OpDef, ReduceScatterOp.OpDef, AllGatherOp.OpDef, GatherColumnsOp.OpDef}
}

// Attrs is the number of ranks, at least 1, and which of them this one is.
type Attrs struct{ Ranks, Rank int }

func (a Attrs) check() error {
	if a.Ranks < 1 || a.Rank < 0 || a.Rank >= a.Ranks {
		return fmt.Errorf("rank %d of %d: want at least one rank, counted from 0", a.Rank, a.Ranks)
	}
	return nil
}

// Fit returns nil if a collective op with the given attributes is one for the
// given rank, or why it is not. An op without a rank is the same on all.
func Fit(attrs any, rank, size int) error {
	ranks, at := 0, rank
	switch a := attrs.(type) {
	case ReduceAttrs:
		ranks = a.Ranks
	case Attrs:
		ranks, at = a.Ranks, a.Rank
	}
	if ranks != size || at != rank {
		return fmt.Errorf("the program is for rank %d of %d, the device is joined as %d of %d", at, ranks, rank, size)
	}
	return nil
}

// alone is the error of a reference that would need other processes' operands.
func (a Attrs) alone() error {
	if a.Ranks > 1 {
		return fmt.Errorf("the program is for %d ranks: run it on a device that was joined to a communicator", a.Ranks)
	}
	return nil
}
