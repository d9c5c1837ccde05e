package data

// IgnoreTarget marks a position without a target; see ops.IgnoreTarget.
const IgnoreTarget = -100

// Batch is the input of one ragged step: Rows windows of Window tokens each, one
// after the other.
type Batch struct {
	// Tokens, Seq, Pos and Targets have Rows·Window elements. Seq tells
	// sequences apart, Pos counts within each.
	Tokens, Seq, Pos, Targets []int32
	Rows, Window              int
	Counted                   int // targets that are not IgnoreTarget
	Bytes                     int // of text that the counted targets stand for

	ids []int32
}

// NewBatch allocates a batch.
func NewBatch(rows, window int) *Batch {
	n := rows * window
	return &Batch{Tokens: make([]int32, n), Seq: make([]int32, n), Pos: make([]int32, n), Targets: make([]int32, n),
		Rows: rows, Window: window, ids: make([]int32, window+1)}
}

// Layout says how windows become sequences.
type Layout struct {
	// Separator is the token in front of each document.
	Separator int32
	// Join lets a document see the ones before it in the same window. Without
	// it each is a sequence of its own, with positions from 0.
	Join bool
	// Lengths is the bytes each token stands for, 0 for special tokens.
	Lengths []uint16
}

// Reset empties the batch for new rows.
func (b *Batch) Reset() { b.Counted, b.Bytes = 0, 0 }

// Part sets p to part i of the n equal runs of rows of b, over b's memory. n must
// divide b.Rows. Counted is the part's own; Bytes is not set.
func (b *Batch) Part(i, n int, p *Batch) {
	p.Rows, p.Window = b.Rows/n, b.Window
	from, to := i*p.Rows*b.Window, (i+1)*p.Rows*b.Window
	p.Tokens, p.Seq, p.Pos, p.Targets = b.Tokens[from:to], b.Seq[from:to], b.Pos[from:to], b.Targets[from:to]
	p.Counted, p.Bytes = 0, 0
	for _, t := range p.Targets {
		if t != IgnoreTarget {
			p.Counted++
		}
	}
}

// Fill sets row r to the window of s that starts at token at: Window inputs and
// the same shifted by one as targets. Where s ends, and for the first skip
// targets, there is no target.
func (b *Batch) Fill(r int, s *Stream, at, skip int, l *Layout) {
	n := min(len(b.ids), max(0, s.Len()-at))
	s.Read(b.ids[:n], at)
	for i := n; i < len(b.ids); i++ {
		b.ids[i] = l.Separator
	}
	from := r * b.Window
	// Sequence numbers only need to differ within the batch.
	seq, pos := int32(from), int32(0)
	for i := range b.Window {
		id := b.ids[i]
		if id == l.Separator && !l.Join && i > 0 {
			seq, pos = int32(from+i), 0
		}
		j := from + i
		b.Tokens[j], b.Seq[j], b.Pos[j] = id, seq, pos
		pos++
		b.Targets[j] = IgnoreTarget
		if i >= skip && i+1 < n {
			next := b.ids[i+1]
			b.Targets[j] = next
			b.Counted++
			if int(next) < len(l.Lengths) {
				b.Bytes += int(l.Lengths[next])
			}
		}
	}
}
