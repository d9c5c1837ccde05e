package data

import (
	"fmt"
	"math/bits"
	"slices"
)

// What becomes of conversations that are longer than a window.
const (
	Cut  = "cut"  // the end is left out
	Drop = "drop" // all of it is
)

// Packing says how conversations become rows of a batch.
type Packing struct {
	Window  int
	Long    string   // Cut or Drop
	Pad     int32    // the token of places that nothing takes
	Lengths []uint16 // bytes that each token stands for, 0 for special tokens
}

// packed is the conversations of a stream that fit into a window.
type packed struct {
	Packing
	s      *Stream
	starts []int // of each conversation, in tokens
	sizes  []int // places that it takes: one less than its tokens, at most Window
	fit    Fit
	ids    []int32
}

// Fit counts conversations.
type Fit struct {
	Whole   int // that are trained on as they are
	Cut     int // of which the end is left out
	Dropped int // that are too long, or have no answer before the cut
}

func newPacked(s *Stream, p Packing) (*packed, error) {
	if p.Long != Cut && p.Long != Drop && p.Long != "" {
		return nil, fmt.Errorf("data: long conversations %q, want %q or %q", p.Long, Cut, Drop)
	}
	k := &packed{Packing: p, s: s, ids: make([]int32, p.Window+1)}
	var block [4096]int32
	start, last, answer := -1, 0, -1 // of the present conversation; its first learned token
	end := func(at int) {
		if start < 0 {
			return
		}
		size := at - start - 1
		switch {
		case size <= p.Window:
			k.fit.Whole++
		case p.Long == Drop || answer-start > p.Window:
			k.fit.Dropped++
			return
		default:
			k.fit.Cut++
			size = p.Window
		}
		k.starts, k.sizes = append(k.starts, start), append(k.sizes, size)
	}
	for at := 0; at < s.Len(); at += last {
		last = min(len(block), s.Len()-at)
		s.Read(block[:last], at)
		for i, id := range block[:last] {
			if id&firstBit != 0 {
				end(at + i)
				start, answer = at+i, -1
			}
			if id&learnBit != 0 && answer < 0 {
				answer = at + i
			}
		}
	}
	end(s.Len())
	return k, nil
}

// open is how many rows are filled at once. More waste less and take longer.
const open = 64

// rows lays conversations into rows, in the given order: each goes into the
// fullest of the open rows that has room. row r is list[ends[r-1]:ends[r]].
func (k *packed) rows(order func(i int) int) (list, ends []int32) {
	type row struct {
		of   []int32
		used int
	}
	var rows []row // open ones
	closeRow := func(i int) {
		list = append(list, rows[i].of...)
		ends = append(ends, int32(len(list)))
		rows = slices.Delete(rows, i, i+1)
	}
	for i := range k.starts {
		c := order(i)
		best := -1
		for r := range rows {
			if rows[r].used+k.sizes[c] <= k.Window && (best < 0 || rows[r].used > rows[best].used) {
				best = r
			}
		}
		if best < 0 {
			if len(rows) == open {
				full := 0
				for r := range rows {
					if rows[r].used > rows[full].used {
						full = r
					}
				}
				closeRow(full)
			}
			rows = append(rows, row{})
			best = len(rows) - 1
		}
		rows[best].of = append(rows[best].of, int32(c))
		if rows[best].used += k.sizes[c]; rows[best].used == k.Window {
			closeRow(best)
		}
	}
	for len(rows) > 0 {
		closeRow(0)
	}
	return list, ends
}

// fill sets row r of b to conversations, each a sequence of its own with
// positions from 0: it attends to itself alone, as if it had the row to itself.
func (k *packed) fill(b *Batch, r int, list []int32) {
	at, end := r*b.Window, (r+1)*b.Window
	for _, c := range list {
		n := k.sizes[c]
		k.s.Read(k.ids[:n+1], k.starts[c])
		seq := int32(at)
		for i := range n {
			b.Tokens[at], b.Seq[at], b.Pos[at], b.Targets[at] = k.ids[i]&idMask, seq, int32(i), IgnoreTarget
			if next := k.ids[i+1]; next&learnBit != 0 {
				id := next & idMask
				b.Targets[at] = id
				b.Counted++
				if int(id) < len(k.Lengths) {
					b.Bytes += int(k.Lengths[id])
				}
			}
			at++
		}
	}
	for ; at < end; at++ {
		b.Tokens[at], b.Seq[at], b.Pos[at], b.Targets[at] = k.Pad, int32(at), 0, IgnoreTarget
	}
}

// ChatSampler visits every conversation once an epoch, several to a row, in an
// order that depends on the seed and the epoch only.
type ChatSampler struct {
	k          *packed
	seed       uint64
	at         Position
	list, ends []int32 // rows of the epoch
	order      permutation
}

// NewChatSampler returns a sampler of a stream of conversations at a position.
// The position counts rows.
func NewChatSampler(s *Stream, p Packing, seed uint64, at Position) (*ChatSampler, error) {
	k, err := newPacked(s, p)
	if err != nil {
		return nil, err
	}
	if len(k.starts) == 0 {
		return nil, fmt.Errorf("data: none of %d conversations fits into a window of %d tokens: use a longer window", k.fit.Dropped, p.Window)
	}
	if at.Epoch < 0 || at.Index < 0 {
		return nil, fmt.Errorf("data: position %+v is negative", at)
	}
	c := &ChatSampler{k: k, seed: seed}
	c.enter(at.Epoch)
	if at.Index > len(c.ends) {
		return nil, fmt.Errorf("data: position %+v is outside of %d rows", at, len(c.ends))
	}
	c.at.Index = at.Index
	return c, nil
}

func (c *ChatSampler) enter(epoch int) {
	c.at = Position{Epoch: epoch}
	key := mix(c.seed ^ mix(uint64(epoch)+1))
	order := newPermutation(len(c.k.starts), key)
	c.list, c.ends = c.k.rows(order.at)
	// Rows are finished the fullest first, so they are shuffled once more.
	c.order = newPermutation(len(c.ends), mix(key+uint64(bits.Len(uint(len(c.ends))))))
}

// Fit tells how the conversations fit into the window.
func (c *ChatSampler) Fit() Fit { return c.k.fit }

// Position is where the next batch begins.
func (c *ChatSampler) Position() Position { return c.at }

// Windows is the number of rows of the current epoch.
func (c *ChatSampler) Windows() int { return len(c.ends) }

// Next fills b with the next rows.
func (c *ChatSampler) Next(b *Batch) {
	b.Reset()
	for r := range b.Rows {
		if c.at.Index == len(c.ends) {
			c.enter(c.at.Epoch + 1)
		}
		c.k.fill(b, r, row(c.list, c.ends, c.order.at(c.at.Index)))
		c.at.Index++
	}
}

func row(list, ends []int32, r int) []int32 {
	from := int32(0)
	if r > 0 {
		from = ends[r-1]
	}
	return list[from:ends[r]]
}

// ChatValidation is a fixed list of rows of conversations.
type ChatValidation struct {
	k          *packed
	list, ends []int32
	kept       []int
}

// NewChatValidation covers a stream of conversations. If that makes more than
// limit rows (limit > 0), limit of them are kept, evenly spread.
func NewChatValidation(s *Stream, p Packing, limit int) (*ChatValidation, error) {
	k, err := newPacked(s, p)
	if err != nil {
		return nil, err
	}
	v := &ChatValidation{k: k}
	v.list, v.ends = k.rows(func(i int) int { return i })
	n := len(v.ends)
	m := n
	if limit > 0 {
		m = min(n, limit)
	}
	for i := range m {
		v.kept = append(v.kept, i*n/m)
	}
	return v, nil
}

// Fit tells how the conversations fit into the window.
func (v *ChatValidation) Fit() Fit { return v.k.fit }

// Batches is how many batches of rows windows there are.
func (v *ChatValidation) Batches(rows int) int { return (len(v.kept) + rows - 1) / rows }

// Fill sets b to batch i. Rows behind the last have no targets.
func (v *ChatValidation) Fill(i int, b *Batch) {
	b.Reset()
	for r := range b.Rows {
		var list []int32
		if n := i*b.Rows + r; n < len(v.kept) {
			list = row(v.list, v.ends, v.kept[n])
		}
		v.k.fill(b, r, list)
	}
}

// Source is an endless stream of training batches whose place can be kept.
type Source interface {
	Next(b *Batch)
	Position() Position // where the next batch begins
	Windows() int       // rows of the current epoch
}

// Held is a fixed set of batches to validate on.
type Held interface {
	Batches(rows int) int
	Fill(i int, b *Batch)
}
