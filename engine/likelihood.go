package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/runtime"
)

// Continuation is a sequence of which the tokens from From on are scored, each
// given all before it; 0 < From < len(Tokens).
type Continuation struct {
	Tokens []int32
	From   int
}

// LogLikelihoods sums the log-likelihoods, in nats, of the scored tokens of each
// continuation. Continuations of a group begin alike, as the choices of one
// question do: what they share runs once, and so does what neighbouring groups
// share, such as worked examples in front of every question. As many run at once
// as the session has sequences, of which it needs two; no sum depends on which.
// emit gets the sums group by group, in order.
func (e *Engine) LogLikelihoods(ctx context.Context, groups [][]Continuation, emit func(group int, sums []float64) error) (err error) {
	if e.Session.Sequences() < 2 {
		return errors.New("scoring continuations needs a session of two sequences or more")
	}
	l := &likelihoods{s: e.Session}
	for g, group := range groups {
		for i, c := range group {
			if c.From < 1 || c.From >= len(c.Tokens) || len(c.Tokens)-1 > e.Session.Context() {
				return fmt.Errorf("continuation %d of group %d: %d tokens scored from %d on, in a context of %d", i, g, len(c.Tokens), c.From, e.Session.Context())
			}
			l.waiting = append(l.waiting, member{Continuation: c, group: g})
		}
	}
	if l.root, err = l.s.Open(); err != nil {
		return err
	}
	defer func() {
		for _, q := range append(l.open, l.root) {
			err = errors.Join(err, l.s.End(q))
		}
	}()
	next, sums := 0, []float64{}
	for len(l.waiting) > 0 {
		batch := l.waiting[:min(len(l.waiting), l.s.Sequences()-1)]
		l.waiting = l.waiting[len(batch):]
		if err := l.round(ctx, batch); err != nil {
			return err
		}
		for _, m := range batch {
			sums = append(sums, m.sum)
			if len(sums) == len(groups[m.group]) {
				for ; next < m.group; next++ { // without continuations
					if err := emit(next, nil); err != nil {
						return err
					}
				}
				if err := emit(m.group, sums); err != nil {
					return err
				}
				next, sums = m.group+1, nil
			}
		}
	}
	for ; next < len(groups); next++ {
		if err := emit(next, nil); err != nil {
			return err
		}
	}
	return nil
}

// likelihoods is the work of one LogLikelihoods.
type likelihoods struct {
	s       *runtime.Session
	waiting []member
	root    runtime.Seq // holds what a round's members share, from round to round
	ran     []int32     // its tokens
	open    []runtime.Seq
}

type member struct {
	Continuation
	group int
	q     runtime.Seq
	sum   float64
}

// round scores a batch: the root runs what all share, each group's first member
// what its group shares, and then all run the rest.
func (l *likelihoods) round(ctx context.Context, batch []member) error {
	common := shared(batch)
	keep := prefix(l.ran, batch[0].Tokens[:common])
	if err := l.s.Truncate(l.root, keep); err != nil {
		return err
	}
	l.ran = append(l.ran[:keep], batch[0].Tokens[keep:common]...)
	if err := l.s.Feed(l.root, runtime.NoLogits, l.ran[keep:]...); err != nil {
		return err
	}
	if err := l.drain(ctx, nil); err != nil {
		return err
	}
	groups := split(batch)
	for _, g := range groups {
		if err := l.fork(l.root, &g[0]); err != nil {
			return err
		}
		if err := l.s.Feed(g[0].q, runtime.NoLogits, g[0].Tokens[common:shared(g)]...); err != nil {
			return err
		}
	}
	if err := l.drain(ctx, nil); err != nil {
		return err
	}
	for _, g := range groups {
		at := shared(g)
		for i := range g {
			if i > 0 {
				if err := l.fork(g[0].q, &g[i]); err != nil {
					return err
				}
			}
		}
		// Feeding comes last: a fork has only what has run.
		for _, m := range g {
			if err := l.s.Feed(m.q, runtime.AllLogits, m.Tokens[at:len(m.Tokens)-1]...); err != nil {
				return err
			}
		}
	}
	if err := l.drain(ctx, batch); err != nil {
		return err
	}
	for len(l.open) > 0 {
		q := l.open[len(l.open)-1]
		l.open = l.open[:len(l.open)-1]
		if err := l.s.End(q); err != nil {
			return err
		}
	}
	return nil
}

func (l *likelihoods) fork(from runtime.Seq, m *member) (err error) {
	if m.q, err = l.s.Fork(from); err == nil {
		l.open = append(l.open, m.q)
	}
	return err
}

// drain steps until nothing waits and adds what members score.
func (l *likelihoods) drain(ctx context.Context, members []member) error {
	for {
		more, err := l.s.Step(ctx)
		if err != nil {
			return err
		}
		for i := range members {
			m := &members[i]
			rows, logits := l.s.Rows(m.q)
			at := l.s.Len(m.q) - rows // position of the first of them
			for r := range rows {
				if next := at + r + 1; next >= m.From {
					m.sum -= nll(logits[r*l.s.Vocab():(r+1)*l.s.Vocab()], m.Tokens[next])
				}
			}
		}
		if !more {
			return nil
		}
	}
}

// split cuts a batch into its groups.
func split(batch []member) (groups [][]member) {
	for i := 0; i < len(batch); {
		j := i + 1
		for j < len(batch) && batch[j].group == batch[i].group {
			j++
		}
		groups = append(groups, batch[i:j])
		i = j
	}
	return groups
}

// shared is how many tokens all of them begin with, short of the one whose
// logits score their first.
func shared(batch []member) int {
	n := batch[0].From - 1
	for _, m := range batch[1:] {
		n = min(n, m.From-1, prefix(m.Tokens, batch[0].Tokens[:n]))
	}
	return n
}

// prefix is the length of the longest common prefix.
func prefix(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
