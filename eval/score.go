package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/internal/jsonl"
	"github.com/trit-ml/trit/models/tokenizer"
)

// Result is a line of the output: one question's log-likelihoods, in nats, and
// which of the measures found a right choice.
type Result struct {
	ID             string    `json:"id"`
	LogLikelihoods []float64 `json:"log_likelihoods"`
	Gold           []int     `json:"gold"`
	Acc            int       `json:"acc"`
	AccNorm        int       `json:"acc_norm"`
	AccBytes       int       `json:"acc_bytes"`
	Cut            bool      `json:"cut,omitempty"` // the context lost its beginning
}

// Prepared are questions as tokens.
type Prepared struct {
	Items  []Item
	groups [][]engine.Continuation
}

// Prepare turns questions into tokens.
func Prepare(m *engine.Model, items []Item) (*Prepared, error) {
	begin, err := m.TextIDs("")
	if err != nil {
		return nil, err
	}
	p := &Prepared{Items: items}
	for _, it := range items {
		var group []engine.Continuation
		for i, c := range it.Choices {
			k, err := encode(m.Tokenizer, begin, c)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: choice %d: %w", it.File, it.Line, i, err)
			}
			group = append(group, k)
		}
		p.groups = append(p.groups, group)
	}
	return p, nil
}

// encode splits at the tokens of the context alone, as the harness does.
func encode(tok *tokenizer.Tokenizer, begin []int32, c Choice) (engine.Continuation, error) {
	context := strings.TrimRightFunc(c.Context, space)
	text := c.Context[len(context):] + c.Continuation
	if context == "" {
		if len(begin) == 0 {
			return engine.Continuation{}, errors.New("there is no context, and the tokenizer has no token to begin a text with")
		}
		return engine.Continuation{Tokens: tok.Encode(slices.Clone(begin), text), From: len(begin)}, nil
	}
	bos := tok.Defaults() & tokenizer.BOS
	k := engine.Continuation{Tokens: tok.Encode(nil, context+text, bos), From: len(tok.Encode(nil, context, bos))}
	if k.From >= len(k.Tokens) {
		return k, fmt.Errorf("%q after its context has no token of its own", c.Continuation)
	}
	return k, nil
}

// space is what Python's str.rstrip takes away.
func space(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// Longest is the context that the longest question needs.
func (p *Prepared) Longest() int {
	n := 1
	for _, g := range p.groups {
		for _, c := range g {
			n = max(n, len(c.Tokens)-1)
		}
	}
	return n
}

// fit cuts what is too long for a context, and reports which questions it cut.
func (p *Prepared) fit(context int) ([][]engine.Continuation, []bool, error) {
	groups, cut := make([][]engine.Continuation, len(p.groups)), make([]bool, len(p.groups))
	for g, group := range p.groups {
		for i, c := range group {
			if over := len(c.Tokens) - 1 - context; over > 0 {
				if over >= c.From {
					return nil, nil, fmt.Errorf("%s:%d: choice %d has %d tokens, the context holds %d", p.Items[g].File, p.Items[g].Line, i, len(c.Tokens)-c.From, context)
				}
				c.Tokens, c.From, cut[g] = c.Tokens[over:], c.From-over, true
			}
			groups[g] = append(groups[g], c)
		}
	}
	return groups, cut, nil
}

// Score scores the questions and appends a line for each to the file out; ""
// keeps none. Questions that out has are not scored again, except one, whose
// log-likelihoods must come out the same: a file that another model has begun is
// an error. progress may be nil.
func (p *Prepared) Score(ctx context.Context, e *engine.Engine, out string, progress func(done, total int)) (results []Result, err error) {
	groups, cut, err := p.fit(e.Session.Context())
	if err != nil {
		return nil, err
	}
	done := map[string]Result{}
	write := func(Result) error { return nil }
	if out != "" {
		f, err := jsonl.Append(out, func(line []byte) error {
			var r Result
			if err := json.Unmarshal(line, &r); err != nil || len(r.LogLikelihoods) == 0 {
				return fmt.Errorf("not a line that trit eval wrote; give another file (%v)", err)
			}
			done[r.ID] = r
			return nil
		})
		if err != nil {
			return nil, err
		}
		w := json.NewEncoder(f)
		write = func(r Result) error { return w.Encode(r) }
		defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	}
	results = make([]Result, len(p.Items))
	var todo []int
	check := -1
	for i, it := range p.Items {
		r, ok := done[it.ID]
		delete(done, it.ID)
		switch {
		case ok && (len(r.LogLikelihoods) != len(it.Choices) || !slices.Equal(r.Gold, it.Gold)):
			return nil, fmt.Errorf("%s holds another question of the id %q than %s:%d: give another file", out, it.ID, it.File, it.Line)
		case ok:
			results[i] = r
			if check < 0 {
				check = i
				todo = append(todo, i)
			}
		default:
			todo = append(todo, i)
		}
	}
	for id := range done {
		return nil, fmt.Errorf("%s holds a result for %q, which is not among the questions: give another file", out, id)
	}
	var work [][]engine.Continuation
	for _, i := range todo {
		work = append(work, groups[i])
	}
	err = e.LogLikelihoods(ctx, work, func(g int, sums []float64) error {
		i := todo[g]
		if i == check {
			if !slices.Equal(sums, results[i].LogLikelihoods) {
				return fmt.Errorf("%s has other log-likelihoods for %q: another model or device began it; give another file", out, p.Items[i].ID)
			}
		} else {
			results[i] = p.Items[i].measure(sums)
			results[i].Cut = cut[i]
			if err := write(results[i]); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(len(p.Items)-len(todo)+g+1, len(p.Items))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// measure finds the choices that the measures take.
func (it *Item) measure(sums []float64) Result {
	r := Result{ID: it.ID, LogLikelihoods: sums, Gold: it.Gold}
	for _, m := range []struct {
		to     *int
		length func(Choice) int
	}{
		{&r.Acc, func(Choice) int { return 1 }},
		{&r.AccNorm, func(c Choice) int { return c.Chars }},
		{&r.AccBytes, func(c Choice) int { return c.Bytes }},
	} {
		best, most := 0, math.Inf(-1)
		for i, sum := range sums {
			if v := sum / float64(m.length(it.Choices[i])); v > most {
				best, most = i, v
			}
		}
		if slices.Contains(it.Gold, best) {
			*m.to = 1
		}
	}
	return r
}
