package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/screen"
)

// Session runs a language model step by step for any number of sequences at
// once. It keeps their tokens in a paged key/value cache, batches whatever is
// waiting into ragged steps (so that long prompts enter in chunks beside
// sequences that generate), and hands out the logits of their last tokens.
//
// The program comes from the infer pipeline: inputs tokens, seq and pos i32[S],
// rows i32[R] and table i32[sequences, blocks]; every state a cache of
// [blocks, positions, width]; output 0 the logits f32[R, vocabulary]. If the head
// is screened, inputs full i32[F], top and keep i32[T] say which of the R rows go
// to output 0, now f32[F, vocabulary], and which to output 1, f32[T, vocabulary],
// or to outputs 1 and 2, lists of the likeliest tokens. With an input draw i32[T,8],
// output 3 is the token drawn of each list.
//
// A sequence's logits do not depend on what else is in the step, on how its
// prompt was cut into chunks, or on where its blocks lie. A Session is used by
// one goroutine at a time. Step allocates nothing once the plans it needs exist.
type Session struct {
	run    *Run
	in     sessionInputs
	syms   []int     // values of the program's symbols for the next step
	symS   int       // which of them counts tokens
	symR   int       // and rows
	head   *screened // nil if every row gets all logits
	vocab  int
	size   int // positions in a block
	width  int // blocks of a sequence
	blocks *blocks
	caches []cacheState
	seqs   []sequence
	first  int          // where the next round starts, so that prompts take turns
	spec   *speculation // nil if it guesses nothing
	ahead  ahead

	tokens, seq, pos, rows, table []int32
	batch                         []piece
	logits                        []float32 // of the last step
}

type sessionInputs struct{ tokens, seq, pos, rows, table Input }

// cacheState is one state: a layer's keys or values.
type cacheState struct {
	val   int
	block int // bytes
}

// Want says which of the tokens being fed need logits.
type Want int32

// What Feed can ask for.
const (
	LastLogits Want = iota // of the last token
	AllLogits              // of every token
	NoLogits
	topLogits // and more: Top
)

// Top asks for the k largest logits of the last token, those equal to the k-th
// included unless the program lists tokens; the others are -Inf. They have the same
// bits as LastLogits gives, for less work if the program screens its head; if not,
// all logits are given.
func Top(k int) Want { return topLogits + Want(max(1, min(k, math.MaxInt32/2))) }

// piece is what one sequence contributes to a step: waiting tokens, of which the
// last ones have rows, then guesses with a row each.
type piece struct{ seq, tokens, rows, guesses int }

// NewSession returns a session over a loaded program.
func NewSession(p *Program) (*Session, error) {
	s := &Session{symS: -1, symR: -1}
	if err := s.bind(p); err != nil {
		return nil, fmt.Errorf("session of %s: %w", p.g.Name, err)
	}
	run, err := p.NewRun()
	if err != nil {
		return nil, err
	}
	s.run = run
	run.SetI32(s.in.table, s.table)
	return s, nil
}

// bind finds the inputs, symbols and states of the convention.
func (s *Session) bind(p *Program) error {
	var errs []error
	input := func(name string, rank int) (Input, graph.Shape) {
		in, err := p.Input(name)
		if err != nil {
			errs = append(errs, err)
			return 0, make(graph.Shape, rank)
		}
		t := p.Inputs()[in].Out[0]
		if t.Elem != graph.I32 || t.Rank() != rank {
			errs = append(errs, fmt.Errorf("input %q is %s, want i32 of rank %d", name, t, rank))
			return 0, make(graph.Shape, rank)
		}
		return in, t.Shape
	}
	var tokens, rows, table graph.Shape
	s.in.tokens, tokens = input("tokens", 1)
	s.in.seq, _ = input("seq", 1)
	s.in.pos, _ = input("pos", 1)
	s.in.rows, rows = input("rows", 1)
	s.in.table, table = input("table", 2)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not a program of the infer pipeline: %w", err)
	}
	maxTokens, maxRows := 0, 0
	if _, err := p.Input(inputTop); err == nil {
		s.head = &screened{symF: -1, symT: -1}
	}
	var full, top graph.Shape
	if h := s.head; h != nil {
		h.in.full, full = input(inputFull, 1)
		h.in.top, top = input(inputTop, 1)
		h.in.keep, _ = input(inputKeep, 1)
		if _, err := p.Input(inputDraw); err == nil {
			h.in.draw, _ = input(inputDraw, 2)
			h.draws = &draws{}
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("not a program with a screened head: %w", err)
		}
	}
	for i, sym := range p.syms {
		if h := s.head; h != nil {
			switch (graph.Dim{Sym: sym.Name, Mul: 1}) {
			case full[0]:
				h.symF, h.full = i, make([]int32, sym.Max)
				continue
			case top[0]:
				h.symT, h.top, h.keep = i, make([]int32, sym.Max), make([]int32, sym.Max)
				if h.draws != nil {
					h.draws.how, h.draws.by = make([]int32, sym.Max*screen.DrawWords), make([]drawnBy, sym.Max)
				}
				continue
			}
		}
		switch (graph.Dim{Sym: sym.Name, Mul: 1}) {
		case tokens[0]:
			s.symS, maxTokens = i, sym.Max
		case rows[0]:
			s.symR, maxRows = i, sym.Max
		default:
			errs = append(errs, fmt.Errorf("symbol %s is neither the number of tokens nor of rows: fix it", sym.Name))
		}
	}
	// A fixed symbol bounds a step to exactly that size, which batching cannot do.
	if s.symS < 0 || s.symR < 0 {
		errs = append(errs, errors.New("the numbers of tokens and rows must be free symbols"))
	}
	dims, err := table.Eval(p.fixed)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	count := 0
	for i, v := range p.states {
		t := p.vals[v].v.Type()
		d, err := t.Shape.Eval(p.fixed)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(d) != 3 || i > 0 && (d[0] != count || d[1] != s.size):
			errs = append(errs, fmt.Errorf("state %q is %s: not a cache of [blocks, positions, width] like the others", graph.SourceName(p.vals[v].v.Node()), t))
		default:
			count, s.size = d[0], d[1]
			s.caches = append(s.caches, cacheState{v, d[1] * d[2] * t.Elem.Size()})
		}
	}
	if len(p.states) == 0 {
		errs = append(errs, errors.New("the program has no cache"))
	}
	if len(p.outs) == 0 {
		errs = append(errs, errors.New("the program has no output"))
	} else if err := s.checkOutputs(p, rows, full, top); err != nil {
		errs = append(errs, err)
	} else {
		t := p.Outputs()[0]
		s.vocab, _ = t.Last().Const()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if h := s.head; h != nil && len(h.top) < min(dims[0], maxRows) {
		return fmt.Errorf("%d sequences can each want a row, but a step takes %d rows of likeliest tokens", dims[0], len(h.top))
	}
	s.blocks, s.width = newBlocks(count), dims[1]
	s.syms = make([]int, len(p.syms))
	s.seqs = make([]sequence, dims[0])
	s.table = make([]int32, dims[0]*dims[1])
	s.tokens, s.seq, s.pos = make([]int32, maxTokens), make([]int32, maxTokens), make([]int32, maxTokens)
	s.rows = make([]int32, maxRows)
	s.batch = make([]piece, 0, dims[0])
	return nil
}

// Close frees the session's memory.
func (s *Session) Close() error { return s.run.Close() }

// Run is what the session steps, for profiling.
func (s *Session) Run() *Run { return s.run }

// Vocab is the number of logits of a token.
func (s *Session) Vocab() int { return s.vocab }

// Context is the most tokens that one sequence can hold.
func (s *Session) Context() int { return s.width * s.size }

// Sequences is the most sequences that can be open at once.
func (s *Session) Sequences() int { return len(s.seqs) }

// Blocks is how many cache blocks there are.
func (s *Session) Blocks() int { return len(s.blocks.refs) }

// FreeBlocks is how many cache blocks nobody holds.
func (s *Session) FreeBlocks() int { return len(s.blocks.free) }

// Positions is how many tokens one cache block takes.
func (s *Session) Positions() int { return s.size }

// Feed appends tokens to what sequence q has waiting, and says for which of the
// waiting tokens Step shall give logits. Tokens that the session has guessed (see
// Speculate) do not wait: if Pending is 0 afterwards, Logits are those that follow
// the token, without another Step.
func (s *Session) Feed(q Seq, want Want, tokens ...int32) error {
	x, err := s.at(q)
	if err != nil {
		return err
	}
	if total := x.n + len(x.pending) + len(tokens); total > s.Context() {
		return fmt.Errorf("sequence %d would have %d tokens, the context holds %d", q, total, s.Context())
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= s.vocab {
			return fmt.Errorf("sequence %d: token %d is outside the vocabulary of %d", q, t, s.vocab)
		}
	}
	if l := s.text(q); l != nil {
		for _, t := range tokens {
			l.add(t, len(tokens) == 1)
		}
		if tokens = s.accept(q, x, want, tokens); len(tokens) == 0 {
			return nil
		}
	}
	x.pending, x.want = append(x.pending, tokens...), want
	return nil
}

// Logits returns the logits of q's latest token in the last step that asked for
// them, nil if it had none. They are valid until the next Step.
func (s *Session) Logits(q Seq) []float32 {
	n, all := s.Rows(q)
	if n == 0 {
		return nil
	}
	return all[(n-1)*s.vocab:]
}

// Ready reports whether the last step that ran gave logits of q's latest token: so
// that Sampler.Draw can continue q.
func (s *Session) Ready(q Seq) bool {
	x, err := s.at(q)
	return err == nil && x.rows > 0
}

// Rows returns how many tokens of q got logits in the last step, and these, row
// by row. They are valid until the next Step.
func (s *Session) Rows(q Seq) (n int, logits []float32) {
	x, err := s.at(q)
	if err != nil || x.rows == 0 {
		return 0, nil
	}
	all := s.logits
	if x.top {
		if all = s.head.expand(s.run, s.vocab); all == nil {
			return 0, nil
		}
	}
	return x.rows, all[x.row*s.vocab:][:x.rows*s.vocab]
}

// Step runs as many waiting tokens as one step takes and reports whether some
// still wait. Sequences with a single token come first, so that long prompts do
// not stall the others. With nothing waiting it does nothing, and logits stay.
// After an error the tokens still wait.
func (s *Session) Step(ctx context.Context) (more bool, err error) {
	if !s.waiting() {
		return false, nil
	}
	s.logits = nil
	q, follows := s.follows()
	for i := range s.seqs {
		x := &s.seqs[i]
		if x.rows = 0; x.ran > 0 {
			s.forget(Seq(i), x)
		}
	}
	s.guess()
	tokens, full, tops := 1, 0, 1
	began := time.Now()
	if !s.arrived(q, follows) {
		if tokens, full, tops, err = s.start(ctx, follows); err != nil || tokens == 0 {
			return err != nil && tokens > 0, err
		}
	}
	if err = s.goAhead(ctx, q, follows); err == nil {
		err = s.run.end(ctx)
	}
	if err != nil {
		s.recall()
		return true, err
	}
	if full > 0 {
		t, err := s.run.Output(ctx, 0)
		if err != nil {
			return true, err
		}
		s.logits = t.F32()
	}
	if tops > 0 {
		if err := s.head.take(ctx, s.run); err != nil {
			return true, err
		}
	}
	full, tops = 0, 0
	for _, p := range s.batch {
		x := &s.seqs[p.seq]
		x.n += p.tokens
		x.pending = x.pending[:copy(x.pending, x.pending[p.tokens:])]
		x.rows, x.ran, x.top = p.rows, p.guesses, s.wantsTop(x)
		if x.top {
			x.row = tops
			tops += p.rows + p.guesses
		} else {
			x.row = full
			full += p.rows + p.guesses
		}
	}
	s.learn(tokens, time.Since(began))
	return s.waiting(), nil
}

// start queues a step for what waits. It returns what is in it: tokens, and rows of
// either kind.
func (s *Session) start(ctx context.Context, follows bool) (tokens, full, tops int, err error) {
	tokens, rows, err := s.schedule()
	if err != nil || tokens == 0 {
		return 0, 0, 0, err
	}
	s.fill()
	s.run.SetI32(s.in.tokens, s.tokens[:tokens])
	s.run.SetI32(s.in.seq, s.seq[:tokens])
	s.run.SetI32(s.in.pos, s.pos[:tokens])
	s.run.SetI32(s.in.rows, s.rows[:rows])
	s.syms[s.symS], s.syms[s.symR] = tokens, rows
	full = rows
	if h := s.head; h != nil {
		full, tops = s.split()
		s.run.SetI32(h.in.full, h.full[:full])
		s.run.SetI32(h.in.top, h.top[:tops])
		s.run.SetI32(h.in.keep, h.keep[:tops])
		if h.draws != nil {
			s.run.SetI32(h.in.draw, h.draws.how[:tops*screen.DrawWords])
		}
		s.syms[h.symF], s.syms[h.symT] = full, tops
	}
	s.bring(full, tops, follows && s.run.fenced())
	if len(s.run.followers) > 0 {
		return tokens, full, tops, s.run.Step(ctx, s.syms...)
	}
	return tokens, full, tops, s.run.start(ctx, s.syms)
}

// waiting reports whether any sequence has tokens to run.
func (s *Session) waiting() bool {
	for i := range s.seqs {
		if s.seqs[i].open && len(s.seqs[i].pending) > 0 {
			return true
		}
	}
	return false
}

// fill writes the scheduled pieces into the inputs.
func (s *Session) fill() {
	i, r := 0, 0
	for _, p := range s.batch {
		x := &s.seqs[p.seq]
		for j, t := range x.pending[:p.tokens] {
			s.tokens[i+j], s.seq[i+j], s.pos[i+j] = t, int32(p.seq), int32(x.n+j)
		}
		i += p.tokens
		for j, t := range x.guess[:p.guesses] {
			s.tokens[i+j], s.seq[i+j], s.pos[i+j] = t, int32(p.seq), int32(x.n+p.tokens+j)
		}
		i += p.guesses
		rows := p.rows + p.guesses
		for j := range rows {
			s.rows[r+j] = int32(i - rows + j)
		}
		r += rows
	}
}
