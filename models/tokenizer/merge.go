package tokenizer

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// merge says that two neighbouring tokens become one. Its rank is its place in
// the list or, for tokenizers without a list, what the vocabulary says.
type merge struct {
	left, right int32
	to          int32
	rank        int32
}

const noRank = math.MaxInt32

// pairTable maps a pair of tokens to its rank and the token it becomes: open
// addressing at half load, 16 bytes a slot.
type pairTable struct {
	slots []pairSlot
	shift int
	mult  uint64 // random and odd, so that no file can force collisions
	n     int
}

type pairSlot struct {
	key      uint64 // pairKey + 1, 0 when empty
	rank, to int32
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

func newPairTable(n int) *pairTable {
	log := bits.Len(uint(2*n) | 1)
	return &pairTable{
		slots: make([]pairSlot, 1<<log),
		shift: 64 - log,
		mult:  rand.Uint64() | 1,
	}
}

// add stores a merge unless its pair has one already, and says whether it did.
func (p *pairTable) add(m merge) bool {
	key := pairKey(m.left, m.right) + 1
	for i := key * p.mult >> p.shift; ; i = (i + 1) & uint64(len(p.slots)-1) {
		switch s := &p.slots[i]; s.key {
		case key:
			return false
		case 0:
			*s = pairSlot{key, m.rank, m.to}
			p.n++
			return true
		}
	}
}

func (p *pairTable) find(left, right int32) (rank, to int32) {
	key := pairKey(left, right) + 1
	for i := key * p.mult >> p.shift; ; i = (i + 1) & uint64(len(p.slots)-1) {
		switch s := &p.slots[i]; s.key {
		case 0: // first, because the key of None and None is 0 too
			return noRank, None
		case key:
			return s.rank, s.to
		}
	}
}

// smallWord is the length up to which scanning an array for the best pair beats
// a heap.
const smallWord = 96

// mergeAll applies the merges of p to e.syms (ids, or None for a symbol that
// never merges) until none applies: always the pair of lowest rank, the leftmost
// of equals. What remains is left in e.syms.
func (e *encoder) mergeAll(p *pairTable) {
	if len(e.syms) <= smallWord {
		e.mergeSmall(p)
	} else {
		e.mergeHeap(p)
	}
}

func (e *encoder) mergeSmall(p *pairTable) {
	var pairs [smallWord]struct{ rank, to int32 }
	syms := e.syms
	n := len(syms)
	for i := range n - 1 {
		pairs[i].rank, pairs[i].to = p.find(syms[i], syms[i+1])
	}
	for n > 1 {
		best, at := int32(noRank), -1
		for i := range pairs[:n-1] {
			if r := pairs[i].rank; r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			break
		}
		syms[at] = pairs[at].to
		copy(syms[at+1:], syms[at+2:n])
		n--
		if at < n-1 {
			copy(pairs[at+1:n-1], pairs[at+2:n])
			pairs[at].rank, pairs[at].to = p.find(syms[at], syms[at+1])
		}
		if at > 0 {
			pairs[at-1].rank, pairs[at-1].to = p.find(syms[at-1], syms[at])
		}
	}
	e.syms = syms[:n]
}

// candidate is a pair that may merge. It is stale once either side has changed.
type candidate struct {
	order       uint64 // rank, then position: the least is merged first
	left, right int32
}

// mergeHeap takes O(n log n) for any word; a merge only links its neighbours.
func (e *encoder) mergeHeap(p *pairTable) {
	syms := e.syms
	n := len(syms)
	next := grow(&e.next, n)
	prev := grow(&e.prev, n)
	if cap(e.heap) < n {
		e.heap = make([]candidate, 0, n+n/4)
	}
	heap := e.heap[:0]
	for i := range n {
		prev[i], next[i] = int32(i-1), int32(i+1)
		if i+1 < n {
			if rank, _ := p.find(syms[i], syms[i+1]); rank != noRank {
				heap = append(heap, candidate{uint64(rank)<<32 | uint64(i), syms[i], syms[i+1]})
			}
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		siftDown(heap, i)
	}
	for len(heap) > 0 {
		c := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		siftDown(heap, 0)

		at := int32(uint32(c.order))
		right := next[at]
		// gone marks a symbol that was merged into the one before it.
		if next[at] == gone || int(right) >= n || syms[at] != c.left || syms[right] != c.right {
			continue
		}
		_, syms[at] = p.find(c.left, c.right)
		after := next[right]
		next[at], next[right] = after, gone
		if int(after) < n {
			prev[after] = at
			heap = push(heap, p, syms, at, after)
		}
		if before := prev[at]; before >= 0 {
			heap = push(heap, p, syms, before, at)
		}
	}
	out := 0
	for i := int32(0); int(i) < n; i = next[i] {
		syms[out] = syms[i]
		out++
	}
	e.syms, e.heap = syms[:out], heap
}

const gone = -2

func push(heap []candidate, p *pairTable, syms []int32, i, j int32) []candidate {
	rank, _ := p.find(syms[i], syms[j])
	if rank == noRank {
		return heap
	}
	c := candidate{uint64(rank)<<32 | uint64(i), syms[i], syms[j]}
	heap = append(heap, c)
	at := len(heap) - 1
	for at > 0 {
		up := (at - 1) / 2
		if heap[up].order <= c.order {
			break
		}
		heap[at] = heap[up]
		at = up
	}
	heap[at] = c
	return heap
}

func siftDown(heap []candidate, at int) {
	if at >= len(heap) {
		return
	}
	c := heap[at]
	for {
		down := 2*at + 1
		if down >= len(heap) {
			break
		}
		if down+1 < len(heap) && heap[down+1].order < heap[down].order {
			down++
		}
		if heap[down].order >= c.order {
			break
		}
		heap[at] = heap[down]
		at = down
	}
	heap[at] = c
}

// grow returns (*s)[:n], enlarged if it must be.
func grow(s *[]int32, n int) []int32 {
	if cap(*s) < n {
		*s = make([]int32, n)
	}
	return (*s)[:n]
}
