package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/ops/screen"
	"github.com/trit-ml/trit/runtime"
)

// Engine is a model compiled for a device, with its weights loaded and a session
// to generate with. It is used by one goroutine at a time.
type Engine struct {
	Model   *Model
	Program *runtime.Program
	Session *runtime.Session
	Load    time.Duration // spent compiling and packing

	ranks  []*rank             // that share the model; none: this one has all of it
	begins map[int]runtime.Seq // by length: beginnings of benchmarks
	greedy *runtime.Sampler    // of benchmarks
}

// Start compiles the model for a device and loads its weights. Zero fields of
// the shape take their defaults.
//
// Several devices (devices.Several) share the model: see passes.Shard. Logits are
// those of one device.
func (m *Model) Start(ctx context.Context, dev devices.Device, s Shape) (*Engine, error) {
	if many, ok := dev.(devices.Several); ok {
		return m.startSharded(ctx, many.Each(), s)
	}
	began := time.Now()
	s = m.shapeOn(dev, s)
	prog, err := m.compile(dev, s, collective.Attrs{Ranks: 1})
	if err != nil {
		return nil, err
	}
	if err := prog.Load(ctx, m.Weights); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", m.Name, err), prog.Close())
	}
	session, err := runtime.NewSession(prog)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", m.Name, err), prog.Close())
	}
	if err := session.Speculate(runtime.Speculation{Tokens: s.Guess}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", m.Name, err), session.Close(), prog.Close())
	}
	return &Engine{Model: m, Program: prog, Session: session, Load: time.Since(began)}, nil
}

// shapeOn fills in the defaults of a device.
func (m *Model) shapeOn(dev devices.Device, s Shape) Shape {
	d := m.DefaultShape()
	d.Cache, d.Chunk = CacheElem(dev), chunkOn(dev)
	return s.or(d)
}

// compile lowers the model, or a rank's share of it, onto a device.
func (m *Model) compile(dev devices.Device, s Shape, rank collective.Attrs) (*runtime.Program, error) {
	claims := devices.NewRegistry(dev).Claims
	s.Whole = s.Whole || !claims(screen.TopOp.OpDef) && !claims(screen.LikeliestOp.OpDef)
	g, err := m.Declare(s.Chunk)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	if g, err = m.inferPipeline(s, claims, rank).Run(g, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	if err := graph.Verify(g, graph.Inferring); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return prog, nil
}

// Close frees the session and the program, not the model and the device.
func (e *Engine) Close() error {
	errs := []error{e.Session.Close(), e.Program.Close()}
	for _, r := range e.ranks {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// Request is one generation.
type Request struct {
	Prompt    []int32
	MaxTokens int     // most tokens to draw; 0 means until a stop or the context's end
	Stops     []int32 // tokens after which generation ends; not emitted
	Sampling  runtime.Sampling
}

// Stats counts a generation's tokens and time.
type Stats struct {
	Prompt, Tokens  int
	Prefill, Decode time.Duration // until the first token, and after it
	Guessed, Right  int           // tokens guessed ahead and run, and those of them that were drawn
}

// Rate is the decoded tokens per second, the first not counted.
func (s Stats) Rate() float64 {
	if s.Tokens < 2 || s.Decode <= 0 {
		return 0
	}
	return float64(s.Tokens-1) / s.Decode.Seconds()
}

// Generate draws tokens in a new sequence and calls emit with each. It ends at a
// stop token, at MaxTokens, at the end of the context, or when emit or ctx says
// so.
func (e *Engine) Generate(ctx context.Context, r Request, emit func(id int32) error) (st Stats, err error) {
	if len(r.Prompt) == 0 {
		return st, errors.New("the prompt is empty: give at least one token")
	}
	sampler, err := runtime.NewSampler(e.Session.Vocab(), r.Sampling)
	if err != nil {
		return st, err
	}
	q, err := e.Session.Open()
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, e.Session.End(q)) }()
	st, _, err = e.draw(ctx, q, r.Prompt, sampler, r.MaxTokens, func(id int32) bool { return slices.Contains(r.Stops, id) }, emit)
	return st, err
}

// draw feeds a prompt to q and draws tokens until stop says that one ends the
// text, which is not emitted but is among the ids returned.
func (e *Engine) draw(ctx context.Context, q runtime.Seq, prompt []int32, sampler *runtime.Sampler, most int,
	stop func(int32) bool, emit func(id int32) error) (st Stats, ids []int32, err error) {
	st.Prompt = len(prompt)
	guessed, right := e.Session.Guessed()
	defer func() {
		st.Guessed, st.Right = e.Session.Guessed()
		st.Guessed, st.Right = st.Guessed-guessed, st.Right-right
	}()
	began := time.Now()
	first := began
	for id, err := range e.Session.Generate(ctx, q, prompt, sampler) {
		if err != nil {
			return st, ids, err
		}
		ids = append(ids, id)
		st.Tokens++
		if st.Tokens == 1 {
			first = time.Now()
			st.Prefill = first.Sub(began)
		}
		st.Decode = time.Since(first)
		if stop(id) {
			break
		}
		if err := emit(id); err != nil {
			return st, ids, err
		}
		if st.Tokens == most {
			break
		}
	}
	return st, ids, nil
}

// Encode turns a prompt into tokens, with the beginning-of-text token where the
// tokenizer asks for one or nothing else would be left.
func (e *Engine) Encode(text string) ([]int32, error) {
	t := e.Model.Tokenizer
	if t == nil {
		return nil, e.Model.noTokenizer()
	}
	ids := t.Encode(nil, text, t.Defaults()&tokenizer.BOS)
	if len(ids) == 0 {
		if ids = e.Model.begin(); len(ids) == 0 {
			return nil, errors.New("the prompt is empty: give at least one character")
		}
	}
	return ids, nil
}

// TextIDs turns a whole text into tokens to be scored: the token that begins a
// text comes first, given rather than predicted.
func (m *Model) TextIDs(text string) ([]int32, error) {
	if m.Tokenizer == nil {
		return nil, m.noTokenizer()
	}
	return m.Tokenizer.Encode(m.begin(), text), nil
}

// begin is the token that begins a text: the tokenizer's own, the
// configuration's, or the one that separates texts in training.
func (m *Model) begin() []int32 {
	stated := tokenizer.None
	if m.Config.BOS >= 0 && m.Config.BOS < m.Config.Vocab {
		stated = int32(m.Config.BOS)
	}
	for _, id := range []int32{m.Tokenizer.BOS(), stated, m.Tokenizer.EOS()} {
		if id != tokenizer.None {
			return []int32{id}
		}
	}
	return nil
}

func (m *Model) noTokenizer() error {
	return fmt.Errorf("%s has no tokenizer; give token ids", m.Name)
}
