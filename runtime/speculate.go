package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Speculation says how far a session guesses ahead. Tokens that the text's own
// repetitions suggest run in the same step as the token before them (speculative
// decoding, Leviathan et al. 2023, with prompt lookup for a draft model): where a
// sampler draws what was guessed, its next logits are there already. A guess that
// is not drawn leaves no trace, so texts are the same, bit for bit, with any
// speculation and without.
type Speculation struct {
	// Tokens is the most that are guessed ahead for one sequence; 0 turns
	// speculation off.
	Tokens int
	// Always guesses wherever the text repeats. Otherwise a session guesses where
	// that pays: it measures how often guesses are right and how long steps take.
	Always bool
}

// mostGuesses bounds Speculation.Tokens.
const mostGuesses = 64

// speculation is a session's state of it.
type speculation struct {
	Speculation
	texts  []*lookup // of each sequence
	cost   stepCost
	cand   []candidateGuess
	chance [mostGuesses]float64

	proposed, kept int
}

// candidateGuess is one more token that a step could run.
type candidateGuess struct {
	seq    int
	chance float64
}

// Speculate sets how far the session guesses ahead. No sequence may be open. A
// program with a screened head runs guesses only on rows that sequences leave
// (see passes.Screen), any program only in the tokens that a step leaves.
func (s *Session) Speculate(o Speculation) error {
	if o.Tokens < 0 || o.Tokens > mostGuesses {
		return fmt.Errorf("speculation of %d tokens: want 0 to %d", o.Tokens, mostGuesses)
	}
	for i := range s.seqs {
		if s.seqs[i].open {
			return errors.New("speculation cannot change while sequences are open")
		}
	}
	s.spec = nil
	if o.Tokens == 0 {
		return nil
	}
	sp := &speculation{Speculation: o, texts: make([]*lookup, len(s.seqs))}
	for i := range s.seqs {
		sp.texts[i] = newLookup(s.Context())
		s.seqs[i].guess = make([]int32, 0, o.Tokens)
	}
	most := min(len(s.tokens), len(s.seqs)*(1+o.Tokens))
	sp.cost.init(most)
	sp.cand = make([]candidateGuess, 0, len(s.seqs)*o.Tokens)
	s.spec = sp
	return nil
}

// Guessed returns how many tokens the session has guessed and run, and how many
// of them were drawn.
func (s *Session) Guessed() (run, drawn int) {
	if s.spec == nil {
		return 0, 0
	}
	return s.spec.proposed, s.spec.kept
}

// text is sequence q's lookup, nil without speculation.
func (s *Session) text(q Seq) *lookup {
	if s.spec == nil {
		return nil
	}
	return s.spec.texts[q]
}

// guess decides which tokens the next step guesses. Steps that read prompts have
// enough to do.
func (s *Session) guess() {
	sp := s.spec
	if sp == nil {
		return
	}
	waiting := 0
	sp.cand = sp.cand[:0]
	for i := range s.seqs {
		x := &s.seqs[i]
		x.guess, x.ran = x.guess[:0], 0
		if !x.open || len(x.pending) == 0 {
			continue
		}
		if len(x.pending) > 1 || x.want == AllLogits || x.want == NoLogits {
			waiting = len(s.tokens) // no guesses
			continue
		}
		waiting++
		n := min(sp.Tokens, s.Context()-x.n-1)
		x.guess = x.guess[:sp.texts[i].guess(x.guess[:max(n, 0)], sp.chance[:max(n, 0)])]
		for _, p := range sp.chance[:len(x.guess)] {
			sp.cand = append(sp.cand, candidateGuess{i, p})
		}
	}
	room := max(0, len(s.tokens)-waiting)
	if !sp.Always || room < len(sp.cand) {
		// Chances fall along a sequence, so a stable sort keeps its tokens in order.
		slices.SortStableFunc(sp.cand, func(a, b candidateGuess) int { return cmp.Compare(b.chance, a.chance) })
	}
	take := min(room, len(sp.cand))
	if !sp.Always {
		take = sp.worth(waiting, take)
	}
	for i := range s.seqs {
		s.seqs[i].ran = 0
	}
	for _, c := range sp.cand[:take] {
		s.seqs[c.seq].ran++
	}
	for i := range s.seqs {
		x := &s.seqs[i]
		x.guess, x.ran = x.guess[:x.ran], 0
	}
}

// worth is how many of the first most candidates give the most tokens in the
// least time beside so many tokens that run anyway.
func (sp *speculation) worth(waiting, most int) int {
	tokens := float64(waiting)
	best, at := tokens/sp.cost.of(waiting)*1.01, 0 // a tie is not worth it
	for i, c := range sp.cand[:most] {
		tokens += c.chance
		if v := tokens / sp.cost.of(waiting+i+1); v > best {
			best, at = v, i+1
		}
	}
	return at
}

// learn remembers how long a step took in which every sequence ran one token,
// guesses apart, and nothing had to be planned.
func (s *Session) learn(tokens int, d time.Duration) {
	sp := s.spec
	if sp == nil {
		return
	}
	plain := true
	for _, p := range s.batch {
		sp.proposed += p.guesses
		plain = plain && p.tokens == 1 && p.rows == 1
	}
	if plain && !s.run.planned {
		sp.cost.record(tokens, d)
	}
}

// accept takes the tokens that are the next ones guessed: they have run. It
// returns what is left of them.
func (s *Session) accept(q Seq, x *sequence, want Want, tokens []int32) []int32 {
	for len(tokens) > 0 && x.ran > 0 && len(x.pending) == 0 && want == x.want && tokens[0] == x.guess[0] {
		x.n++
		x.row++
		x.guess = x.guess[:copy(x.guess, x.guess[1:])]
		x.ran--
		tokens = tokens[1:]
		s.spec.kept++
	}
	if len(tokens) > 0 && x.ran > 0 {
		s.forget(q, x)
	}
	return tokens
}

// forget drops guesses that ran and were not drawn, with the blocks that hold
// nothing else. What they wrote lies beyond the sequence's end, where the next
// tokens overwrite it before anything reads it.
func (s *Session) forget(q Seq, x *sequence) {
	x.ran, x.guess = 0, x.guess[:0]
	s.release(q, x)
}

// stepCost is how long steps of so many tokens take, measured.
type stepCost struct {
	ns   []float64 // by number of tokens; 0: not known
	when []int     // the step that measured it last
	step int
}

const (
	costAge   = 512  // steps after which a measurement counts no more
	costSlope = 0.04 // what one more token is assumed to cost, as a share, until it is tried
)

func (c *stepCost) init(most int) {
	*c = stepCost{ns: make([]float64, most+1), when: make([]int, most+1)}
}

func (c *stepCost) record(tokens int, d time.Duration) {
	if tokens >= len(c.ns) {
		return
	}
	c.step++
	ns := float64(d)
	if c.known(tokens) {
		// Slow outliers say little about the next step.
		ns = c.ns[tokens] + (min(ns, 2*c.ns[tokens])-c.ns[tokens])/8
	}
	c.ns[tokens], c.when[tokens] = ns, c.step
}

func (c *stepCost) known(tokens int) bool {
	return c.ns[tokens] > 0 && c.step-c.when[tokens] < costAge
}

// of returns what a step of so many tokens is expected to take, in a unit that
// is the same for all. What was not tried is taken to be cheap, so that it is.
func (c *stepCost) of(tokens int) float64 {
	tokens = min(tokens, len(c.ns)-1)
	for n := tokens; n > 0; n-- {
		if c.known(n) {
			return c.ns[n] * (1 + costSlope*float64(tokens-n))
		}
	}
	for n := tokens + 1; n < len(c.ns); n++ {
		if c.known(n) {
			return c.ns[n] / (1 + costSlope*float64(n-tokens))
		}
	}
	return 1 + costSlope*float64(tokens)
}
