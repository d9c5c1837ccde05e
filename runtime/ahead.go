package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
)

// A session whose program draws tokens need not know them to go on: while one sequence
// generates, the next step is queued before the last has ended, and takes the token from
// where it was drawn. So a device does not wait until the host has read a token, and has
// asked for another step. If something else happens than was expected, such as the end
// of the text, that step leaves no trace: what it wrote lies beyond the sequence's end,
// where the next tokens overwrite it before anything reads it.

// calm is how many steps in a row without guesses make it likely that the next one
// has none either.
const calm = 8

// ahead is a session's state of it.
type ahead struct {
	under  bool    // a step is under way that nobody has asked for yet
	seq    Seq     // whose it is,
	n      int     // how many tokens must have run before it,
	want   Want    // what must be asked of it,
	by     drawnBy // and for which draw
	chain  int     // steps of one token so far, each drawn by the one before
	before Seq     // of which sequence
}

// follows reports whether all that waits is the token that the last step drew.
func (s *Session) follows() (Seq, bool) {
	at := Seq(-1)
	for i := range s.seqs {
		if x := &s.seqs[i]; x.open && len(x.pending) > 0 {
			if at >= 0 {
				return 0, false
			}
			at = Seq(i)
		}
	}
	if h := s.head; at < 0 || h == nil || h.draws == nil || len(h.draws.drawn) != 1 {
		return 0, false
	}
	x := &s.seqs[at]
	return at, x.rows == 1 && x.top && x.row == 0 && len(x.pending) == 1 && x.sampler != nil && s.head.draws.drawn[0] == x.pending[0]
}

// arrived reports whether the step under way is the one that is asked for now.
func (s *Session) arrived(q Seq, follows bool) bool {
	a := &s.ahead
	if !a.under {
		return false
	}
	x := &s.seqs[a.seq]
	if !follows || q != a.seq || len(x.guess) > 0 || x.n != a.n || x.want != a.want || x.sampler != a.by.sampler || x.sampler.how(0).Count != a.by.count {
		s.recall()
		return false
	}
	a.under = false
	s.head.draws.by[0], s.head.draws.all = a.by, true
	s.batch = append(s.batch[:0], piece{int(q), 1, 1, 0})
	return true
}

// recall gives up the step under way.
func (s *Session) recall() {
	a := &s.ahead
	if a.under {
		a.under = false
		if x := &s.seqs[a.seq]; x.open {
			s.release(a.seq, x)
		}
	}
	s.run.forsake()
	a.chain = 0
}

// Settle waits until nothing is under way: a step that was queued ahead is given up.
func (s *Session) Settle(ctx context.Context) error {
	s.recall()
	return s.run.q.Sync(ctx)
}

// goAhead queues the step behind the one under way, if it is likely to be wanted.
func (s *Session) goAhead(ctx context.Context, q Seq, follows bool) error {
	a := &s.ahead
	if !follows || len(s.batch) != 1 || s.batch[0] != (piece{int(q), 1, 1, 0}) || !s.head.draws.all {
		a.chain = 0
		return nil
	}
	if a.before != q {
		a.chain, a.before = 0, q
	}
	a.chain++
	x := &s.seqs[q]
	if s.spec != nil && a.chain < calm || x.n+2 > s.Context() || !s.run.fenced() {
		return nil
	}
	if n, err := s.room(q, 2); errors.Is(err, ErrCacheFull) || n < 2 {
		return nil // the next step says so, if it is still so
	} else if err != nil {
		return err
	}
	d := s.head.draws
	by := d.by[0]
	d.plan(0, x.sampler, 1)
	by, d.by[0] = d.by[0], by
	s.pos[0] = int32(x.n + 1)
	if err := s.run.ahead(ctx, s.in.tokens, drawnOutput); err != nil {
		return err
	}
	a.under, a.seq, a.n, a.want, a.by = true, q, x.n+1, x.want, by
	return nil
}

// fenced reports whether steps can be queued ahead: the device can wait for one while
// the next is under way.
func (r *Run) fenced() bool {
	if r.fence == nil && !r.unfenced {
		f, ok := r.q.(devices.Fencer)
		if ok {
			var err error
			r.fence, err = f.NewFence()
			ok = err == nil // if not, the queue's next call says why
		}
		r.unfenced = !ok
	}
	return !r.unfenced && len(r.followers) == 0
}

// ahead queues another step like the one under way, with the inputs as they are now
// but for in, which is that step's output out. The run then ends the first step, and
// has what it brought, when it is asked to end one.
func (r *Run) ahead(ctx context.Context, in Input, out int) error {
	b := r.now
	o, from := &b.plan.inputs[in], &b.plan.outs[out]
	if o.bytes != from.bytes || !o.used {
		return fmt.Errorf("input %q has %d bytes, output %d has %d", r.inputName(int(in)), o.bytes, out, from.bytes)
	}
	at := r.at(from.at, b.plan)
	if err := r.q.Copy(r.arena, b.plan.places[o.at.val].off, at.buf, at.off, o.bytes); err != nil {
		return fmt.Errorf("input %q: %w", r.inputName(int(in)), err)
	}
	if err := r.write(b, int(in)); err != nil {
		return err
	}
	if err := r.fence.Set(); err != nil {
		return err
	}
	return r.begin(b)
}

// forsake lets go of steps under way: nothing is read of them.
func (r *Run) forsake() { r.begun = 0 }
