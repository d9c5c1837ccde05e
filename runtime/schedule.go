package runtime

import (
	"errors"
	"fmt"
)

// schedule decides what the next step runs and makes room in the cache for it.
func (s *Session) schedule() (tokens, rows int, err error) {
	s.batch = s.batch[:0]
	waiting := 0
	var full error
	for _, single := range [...]bool{true, false} {
		for i := range s.seqs {
			id := (s.first + i) % len(s.seqs)
			x := &s.seqs[id]
			if !x.open || len(x.pending) == 0 || (len(x.pending) == 1) != single {
				continue
			}
			waiting++
			n := min(len(x.pending), len(s.tokens)-tokens)
			n, want := s.fit(x, n, len(s.rows)-rows)
			if n == 0 {
				continue
			}
			if n, err = s.room(Seq(id), n); errors.Is(err, ErrCacheFull) {
				full = err
			} else if err != nil {
				return 0, 0, err
			}
			if n, want = s.fit(x, n, want); n == 0 {
				continue
			}
			s.batch = append(s.batch, piece{id, n, want, 0})
			tokens += n
			rows += want
		}
	}
	if waiting > 0 && tokens == 0 {
		if full == nil {
			full = errors.New("a step takes no rows of logits: declare more")
		}
		return 0, 0, full
	}
	if tokens, rows, err = s.addGuesses(tokens, rows); err != nil {
		return 0, 0, err
	}
	s.first++
	if s.first == len(s.seqs) {
		s.first = 0
	}
	return tokens, rows, nil
}

// addGuesses adds to the scheduled pieces what was guessed, as far as there is
// room for it.
func (s *Session) addGuesses(tokens, rows int) (int, int, error) {
	if s.spec == nil {
		return tokens, rows, nil
	}
	tops := 0
	if s.head != nil {
		tops = len(s.head.top)
		for _, p := range s.batch {
			if s.wantsTop(&s.seqs[p.seq]) {
				tops -= p.rows
			}
		}
	}
	for i := range s.batch {
		p := &s.batch[i]
		x := &s.seqs[p.seq]
		if p.tokens != len(x.pending) || p.rows != 1 {
			continue
		}
		n := min(len(x.guess), len(s.tokens)-tokens, len(s.rows)-rows)
		if s.wantsTop(x) {
			n = min(n, tops)
		}
		if n == 0 {
			continue
		}
		room, err := s.room(Seq(p.seq), p.tokens+n)
		if err != nil && !errors.Is(err, ErrCacheFull) {
			return 0, 0, err
		}
		p.guesses = max(0, min(n, room-p.tokens))
		tokens += p.guesses
		rows += p.guesses
		if s.wantsTop(x) {
			tops -= p.guesses
		}
	}
	return tokens, rows, nil
}

// fit returns how many of the first n waiting tokens can run with at most rows
// rows of logits, and how many rows they take.
func (s *Session) fit(x *sequence, n, rows int) (int, int) {
	switch {
	case x.want == NoLogits:
		return n, 0
	case x.want == AllLogits:
		n = min(n, rows)
		return n, n
	case n == len(x.pending) && rows == 0:
		return n - 1, 0
	case n == len(x.pending):
		return n, 1
	}
	return n, 0
}

// room makes sure that sequence q has blocks of its own for its next n tokens
// and returns for how many it has. The error wraps ErrCacheFull if these are
// fewer.
func (s *Session) room(q Seq, n int) (int, error) {
	x := &s.seqs[q]
	row := s.table[int(q)*s.width:][:s.width]
	for at := x.n / s.size; at*s.size < x.n+n; at++ {
		fresh := at >= x.held
		if !fresh && !s.blocks.shared(row[at]) {
			continue
		}
		b, ok := s.blocks.take()
		if !ok {
			return max(0, at*s.size-x.n), fmt.Errorf("sequence %d needs a block for token %d: %w (%d blocks of %d positions, all in use)",
				q, at*s.size, ErrCacheFull, len(s.blocks.refs), s.size)
		}
		if fresh {
			x.held++
		} else {
			if err := s.copyBlock(b, row[at]); err != nil {
				s.blocks.drop(b)
				return 0, err
			}
			s.blocks.drop(row[at])
		}
		row[at] = b
	}
	return n, nil
}

// copyBlock copies a block of every layer's keys and values.
func (s *Session) copyBlock(to, from int32) error {
	for _, c := range s.caches {
		if err := s.run.copyState(c.val, int(to)*c.block, int(from)*c.block, c.block); err != nil {
			return fmt.Errorf("copy a cache block: %w", err)
		}
	}
	return nil
}
