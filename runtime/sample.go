package runtime

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/ops/screen"
)

// Sampling says how the next token is drawn. The steps apply in the order of
// the fields, each to what the one before has left; it is the order of Hugging
// Face's generate.
type Sampling struct {
	// RepeatPenalty above 1 makes tokens of the last RepeatWindow ones less
	// likely: positive logits are divided by it, negative ones multiplied (Keskar
	// et al. 2019, "CTRL"). 0 and 1 do nothing.
	RepeatPenalty float32
	// RepeatWindow is how many of the last tokens count; 0 means 64.
	RepeatWindow int
	// Temperature divides the logits; 0 takes the likeliest token, the lowest id
	// among equals.
	Temperature float32
	// TopK keeps the k likeliest tokens; 0 keeps all.
	TopK int
	// TopP keeps the likeliest tokens until their probabilities reach p; 0 and 1
	// keep all.
	TopP float32
	// MinP drops tokens less likely than MinP times the likeliest; 0 keeps all.
	MinP float32
	// Seed starts the random numbers: equal seeds and logits give equal tokens.
	Seed uint64
}

func (o Sampling) check(vocab int) error {
	bad := func(name string, v any, want string) error {
		return fmt.Errorf("sampling: %s is %v, want %s", name, v, want)
	}
	finite := func(v float32) bool { return v >= 0 && v <= math.MaxFloat32 }
	switch {
	case vocab < 1:
		return bad("vocabulary", vocab, "at least 1")
	case !finite(o.RepeatPenalty):
		return bad("repetition penalty", o.RepeatPenalty, "0 (off) or a positive number")
	case o.RepeatWindow < 0:
		return bad("repetition window", o.RepeatWindow, "0 (default) or more")
	case !finite(o.Temperature):
		return bad("temperature", o.Temperature, "0 (greedy) or more")
	case o.TopK < 0:
		return bad("top-k", o.TopK, "0 (off) or more")
	case !finite(o.TopP) || o.TopP > 1:
		return bad("top-p", o.TopP, "0 to 1")
	case !finite(o.MinP) || o.MinP > 1:
		return bad("min-p", o.MinP, "0 to 1")
	}
	return nil
}

// Sampler draws tokens for one sequence. It allocates nothing after NewSampler
// and is used by one goroutine at a time. Random numbers are a function of the seed and
// of how many tokens were drawn before (screen.Draw), so that a device can draw in its
// stead.
type Sampler struct {
	o     Sampling
	count uint64 // tokens drawn: which random number is next
	cand  []candidate

	listed []float32 // of top-k sampling: the logits of candidates in order,
	sums   []float64 // and sums of their powers

	recent []int32 // ring of the last tokens
	next   int     // where the ring continues
	filled int
	counts []int32 // of each token in the ring
}

type candidate struct {
	logit float32
	id    int32
	p     float64
}

// before orders candidates: likelier first, the lowest id among equals.
func (c *candidate) before(d *candidate) bool {
	return c.logit > d.logit || c.logit == d.logit && c.id < d.id
}

// NewSampler returns a sampler for logits of the given number of tokens.
func NewSampler(vocab int, o Sampling) (*Sampler, error) {
	if err := o.check(vocab); err != nil {
		return nil, err
	}
	s := &Sampler{o: o, cand: make([]candidate, vocab)}
	if s.listing() {
		s.listed, s.sums = make([]float32, o.TopK), make([]float64, o.TopK)
	}
	if o.RepeatPenalty != 0 && o.RepeatPenalty != 1 {
		window := o.RepeatWindow
		if window == 0 {
			window = 64
		}
		s.recent = make([]int32, window)
		s.counts = make([]int32, vocab)
	}
	return s, nil
}

// Want is the least that Next needs to know: Top for the likeliest token and for
// top-k sampling, else all logits. Either way it draws the same tokens.
func (s *Sampler) Want() Want {
	switch {
	case s.recent != nil: // a penalty can bring any token to the front
		return LastLogits
	case s.greedy():
		return Top(1)
	case s.listing():
		return Top(s.o.TopK)
	}
	return LastLogits
}

// greedy reports whether the likeliest token is taken, listing whether a token is
// drawn from a list of the likeliest.
func (s *Sampler) greedy() bool  { return s.o.Temperature == 0 || s.o.TopK == 1 }
func (s *Sampler) listing() bool { return s.o.TopK > 0 && s.o.TopK < len(s.cand) }

// how describes the draw that comes after ahead more.
func (s *Sampler) how(ahead uint64) screen.Draw {
	d := screen.Draw{Seed: s.o.Seed, Count: s.count + ahead, Temperature: s.o.Temperature, TopP: s.o.TopP, MinP: s.o.MinP}
	if s.greedy() {
		d.Temperature, d.Count = 0, 0 // every draw is alike
	}
	return d
}

// Accept tells the sampler about tokens of the sequence that it did not draw:
// the prompt. Only the repetition penalty needs it.
func (s *Sampler) Accept(tokens ...int32) {
	if len(s.recent) == 0 {
		return
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= len(s.counts) {
			continue
		}
		if s.filled == len(s.recent) {
			s.counts[s.recent[s.next]]--
		} else {
			s.filled++
		}
		s.recent[s.next] = t
		s.counts[t]++
		s.next = (s.next + 1) % len(s.recent)
	}
}

var errNoToken = errors.New("sampling: no logit is a number: the model has diverged or its weights are damaged")

// Next draws the token that follows from the logits, one for each token of the
// vocabulary, and accepts it. Tokens whose logit is NaN or -Inf are never drawn.
func (s *Sampler) Next(logits []float32) (int32, error) {
	if len(logits) != len(s.cand) {
		return 0, fmt.Errorf("sampling: %d logits for a vocabulary of %d", len(logits), len(s.cand))
	}
	return s.pick(s.candidates(logits))
}

// NextOf is Next for the logits of some tokens only, without which no token could
// be drawn: what Session.Likeliest gives to a Feed that asked for Want.
func (s *Sampler) NextOf(ids []int32, logits []float32) (int32, error) {
	if len(ids) != len(logits) || len(ids) > len(s.cand) {
		return 0, fmt.Errorf("sampling: %d logits for %d tokens of a vocabulary of %d", len(logits), len(ids), len(s.cand))
	}
	if s.counts != nil {
		return 0, errors.New("sampling: a repetition penalty needs all logits")
	}
	n := 0
	for i, id := range ids {
		if int(id) >= len(s.cand) || id < 0 {
			return 0, fmt.Errorf("sampling: token %d is outside the vocabulary of %d", id, len(s.cand))
		}
		if v := logits[i]; v >= -math.MaxFloat32 {
			s.cand[n] = candidate{logit: min(v, math.MaxFloat32), id: id}
			n++
		}
	}
	return s.pick(s.cand[:n])
}

// Draw draws the token that follows q from what its last step gave, or takes it if
// the step has drawn it (Session.Sample).
func (s *Sampler) Draw(session *Session, q Seq) (int32, error) {
	if id, ok := session.drawn(q, s); ok {
		if id < 0 {
			return 0, errNoToken
		}
		s.count++
		s.Accept(id)
		return id, nil
	}
	if ids, logits := session.Likeliest(q); ids != nil && s.counts == nil {
		return s.NextOf(ids, logits)
	}
	logits := session.Logits(q)
	if h := session.head; logits == nil && h != nil && h.err != nil {
		return 0, h.err
	}
	if logits == nil {
		return 0, fmt.Errorf("sequence %d has no logits to continue from: feed it a token", q)
	}
	return s.Next(logits)
}

// pick draws one of the candidates and accepts it.
func (s *Sampler) pick(cs []candidate) (int32, error) {
	if len(cs) == 0 {
		return 0, errNoToken
	}
	id := int32(0)
	switch {
	case s.greedy():
		best := &cs[0]
		for i := range cs {
			if cs[i].before(best) {
				best = &cs[i]
			}
		}
		id = best.id
	case s.listing():
		cs = s.list(cs)
		id = cs[s.how(0).Pick(s.listed[:len(cs)], s.sums[:len(cs)])].id
	default:
		id = s.draw(s.filter(cs))
	}
	s.count++
	s.Accept(id)
	return id, nil
}

// candidates lists the tokens that can be drawn, penalised.
func (s *Sampler) candidates(logits []float32) []candidate {
	n := 0
	for i, v := range logits {
		if s.counts != nil && s.counts[i] > 0 {
			if v > 0 {
				v /= s.o.RepeatPenalty
			} else {
				v *= s.o.RepeatPenalty
			}
		}
		if v >= -math.MaxFloat32 { // neither NaN nor -Inf
			s.cand[n] = candidate{logit: min(v, math.MaxFloat32), id: int32(i)}
			n++
		}
	}
	return s.cand[:n]
}

// list returns the k likeliest, in order, with their logits in s.listed.
func (s *Sampler) list(cs []candidate) []candidate {
	if s.o.TopK < len(cs) {
		cs = likeliest(cs, s.o.TopK)
	}
	slices.SortFunc(cs, func(a, b candidate) int {
		if a.before(&b) {
			return -1
		}
		return 1 // ids differ
	})
	for i := range cs {
		s.listed[i] = cs[i].logit
	}
	return cs
}

// filter applies temperature, top-p and min-p to all tokens and returns what is
// left, with unnormalised probabilities.
func (s *Sampler) filter(cs []candidate) []candidate {
	nucleus := s.o.TopP > 0 && s.o.TopP < 1
	how := s.how(0)
	top := cs[0].logit
	for i := range cs {
		top = max(top, cs[i].logit)
	}
	sum := 0.0
	for i := range cs {
		cs[i].p = how.Power(cs[i].logit, top)
		sum += cs[i].p
	}
	if nucleus {
		// Tokens of less than this share of what top-p leaves out are together no more
		// than half of it, so likelier ones reach top-p: only these need an order.
		least, n := (1-float64(s.o.TopP))*sum/float64(2*len(cs)), 0
		for i := range cs {
			if cs[i].p >= least {
				cs[n] = cs[i]
				n++
			}
		}
		cs = cs[:n]
		heapify(cs, (*candidate).before)
		kept, mass := 0, 0.0
		for kept < len(cs) && mass < float64(s.o.TopP)*sum {
			pop(cs[:len(cs)-kept])
			kept++
			mass += cs[len(cs)-kept].p
		}
		cs = cs[len(cs)-max(kept, 1):]
	}
	if s.o.MinP > 0 {
		n := 0
		for i := range cs {
			if cs[i].p >= float64(s.o.MinP) { // the likeliest has 1
				cs[n] = cs[i]
				n++
			}
		}
		cs = cs[:n]
	}
	return cs
}

// draw picks a candidate in proportion to p.
func (s *Sampler) draw(cs []candidate) int32 {
	sum := 0.0
	for i := range cs {
		sum += cs[i].p
	}
	at := s.how(0).Uniform() * sum
	for i := range cs {
		if at -= cs[i].p; at < 0 {
			return cs[i].id
		}
	}
	// Rounding left a sliver at the end: it belongs to the last that can be drawn.
	last := len(cs) - 1
	for last > 0 && cs[last].p == 0 {
		last--
	}
	return cs[last].id
}

// likeliest moves the k likeliest candidates to the front. They are kept in a
// heap with the least likely first, which most candidates are only compared with.
func likeliest(cs []candidate, k int) []candidate {
	top := cs[:k]
	after := func(a, b *candidate) bool { return b.before(a) }
	heapify(top, after)
	for i := k; i < len(cs); i++ {
		if cs[i].before(&top[0]) {
			top[0], cs[i] = cs[i], top[0]
			sink(top, 0, after)
		}
	}
	return top
}

// heapify makes cs a heap whose first candidate comes before all others.
func heapify(cs []candidate, before func(a, b *candidate) bool) {
	for i := len(cs)/2 - 1; i >= 0; i-- {
		sink(cs, i, before)
	}
}

// pop moves the likeliest candidate of a heap to its end, which then belongs to
// the heap no more.
func pop(cs []candidate) {
	last := len(cs) - 1
	cs[0], cs[last] = cs[last], cs[0]
	sink(cs[:last], 0, (*candidate).before)
}

func sink(cs []candidate, i int, before func(a, b *candidate) bool) {
	for {
		c := 2*i + 1
		if c >= len(cs) {
			return
		}
		if c+1 < len(cs) && before(&cs[c+1], &cs[c]) {
			c++
		}
		if !before(&cs[c], &cs[i]) {
			return
		}
		cs[i], cs[c] = cs[c], cs[i]
		i = c
	}
}
