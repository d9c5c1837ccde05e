// Package collective declares ops whose results depend on the operands of every
// rank: of all processes that run the same program on their part of the data.
//
// A program with such ops runs on a device that was joined to a communicator
// (devices.Joiner). Sums add rank 0 first, then rank 1 and so on, one element
// at a time: they are the same bits on every rank and with every engine, and
// the same as one process gets that adds the same values one after another.
// With one rank each op is the identity, which is what their references compute.
package collective

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{AllReduceOp.OpDef, AllReduceInPlaceOp.OpDef, ReduceScatterOp.OpDef, AllGatherOp.OpDef}
}

// Attrs is the number of ranks, at least 1, and which of them this one is.
type Attrs struct{ Ranks, Rank int }

func (a Attrs) check() error {
	if a.Ranks < 1 || a.Rank < 0 || a.Rank >= a.Ranks {
		return fmt.Errorf("rank %d of %d: want at least one rank, counted from 0", a.Rank, a.Ranks)
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
