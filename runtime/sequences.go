package runtime

import "fmt"

// Seq is the handle of a sequence: its row in the block table.
type Seq int

type sequence struct {
	open    bool
	n       int     // positions in the cache
	held    int     // blocks
	pending []int32 // tokens to run
	want    Want    // for the pending tokens
	row     int     // first row of the last step's logits
	rows    int
	top     bool     // the row is one of the likeliest tokens only
	sampler *Sampler // whose draws steps make, if they can
	guess   []int32  // tokens guessed to follow the waiting one, or the last that ran
	ran     int      // so many of them ran in the last step, each with a row
}

// Open starts an empty sequence. The error says that all are in use.
func (s *Session) Open() (Seq, error) {
	for i := range s.seqs {
		if q := &s.seqs[i]; !q.open {
			*q = sequence{open: true, pending: q.pending[:0], guess: q.guess[:0]}
			if l := s.text(Seq(i)); l != nil {
				l.reset()
			}
			return Seq(i), nil
		}
	}
	return 0, fmt.Errorf("all %d sequences are open", len(s.seqs))
}

// at returns an open sequence.
func (s *Session) at(q Seq) (*sequence, error) {
	if q < 0 || int(q) >= len(s.seqs) || !s.seqs[q].open {
		return nil, fmt.Errorf("sequence %d is not open", q)
	}
	return &s.seqs[q], nil
}

// held is the part of the block table that sequence q fills.
func (s *Session) held(q Seq) []int32 {
	return s.table[int(q)*s.width:][:s.seqs[q].held]
}

// Fork starts a sequence with the tokens of q that have run. The two share
// their cache blocks until one of them writes.
func (s *Session) Fork(q Seq) (Seq, error) {
	from, err := s.at(q)
	if err != nil {
		return 0, err
	}
	id, err := s.Open()
	if err != nil {
		return 0, err
	}
	to := &s.seqs[id]
	to.n, to.held = from.n, from.held
	copy(s.held(id), s.held(q))
	for _, b := range s.held(id) {
		s.blocks.hold(b)
	}
	if l := s.text(id); l != nil {
		l.copyFrom(s.text(q), to.n)
	}
	return id, nil
}

// End closes sequence q and frees the blocks that it does not share.
func (s *Session) End(q Seq) error {
	if err := s.Truncate(q, 0); err != nil {
		return err
	}
	s.seqs[q].open = false
	return nil
}

// Truncate takes sequence q back to its first n tokens and drops what waits.
func (s *Session) Truncate(q Seq, n int) error {
	x, err := s.at(q)
	if err != nil {
		return err
	}
	if n < 0 || n > x.n {
		return fmt.Errorf("cannot truncate sequence %d of %d tokens to %d", q, x.n, n)
	}
	x.n, x.pending, x.rows = n, x.pending[:0], 0
	s.release(q, x)
	x.guess, x.ran = x.guess[:0], 0
	if l := s.text(q); l != nil {
		l.truncate(n)
	}
	return nil
}

// release gives back the blocks beyond x's end, the last first: so they come again
// in the order in which they were.
func (s *Session) release(q Seq, x *sequence) {
	for keep := (x.n + s.size - 1) / s.size; x.held > keep; x.held-- {
		s.blocks.drop(s.held(q)[x.held-1])
	}
}

// Len is how many tokens of q have run; Pending how many wait.
func (s *Session) Len(q Seq) int {
	if x, err := s.at(q); err == nil {
		return x.n
	}
	return 0
}

// Pending is how many tokens of q wait to be run.
func (s *Session) Pending(q Seq) int {
	if x, err := s.at(q); err == nil {
		return len(x.pending)
	}
	return 0
}
