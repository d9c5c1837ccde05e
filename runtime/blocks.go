package runtime

import "errors"

// ErrCacheFull is wrapped when no block of the cache is free. Closing or
// truncating a sequence frees some.
var ErrCacheFull = errors.New("the key/value cache is full")

// blocks hands out the blocks of a paged cache. Sequences that share a prefix
// share its blocks; a block is free when nobody holds it.
type blocks struct {
	refs []int32
	free []int32 // a stack
}

func newBlocks(n int) *blocks {
	b := &blocks{refs: make([]int32, n), free: make([]int32, n)}
	for i := range b.free {
		b.free[i] = int32(n - 1 - i)
	}
	return b
}

// take returns a free block, held once.
func (b *blocks) take() (int32, bool) {
	if len(b.free) == 0 {
		return 0, false
	}
	id := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	b.refs[id] = 1
	return id, true
}

// hold counts one more holder.
func (b *blocks) hold(id int32) { b.refs[id]++ }

// drop counts one holder less.
func (b *blocks) drop(id int32) {
	if b.refs[id]--; b.refs[id] == 0 {
		b.free = append(b.free, id)
	}
}

// shared reports whether somebody else holds the block too.
func (b *blocks) shared(id int32) bool { return b.refs[id] > 1 }
