package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrOpaque is wrapped by the error of a template that does not write a
// conversation as the beginning of a longer one, so that it cannot be told where
// an answer begins.
var ErrOpaque = errors.New("the template rewrites what came before")

// Sample returns the ids of a whole conversation as they arise when the model
// itself gives the answers: each prompt is encoded as [Format.Encode] and
// [Format.Continue] would, and each answer by itself. learn[i] tells whether id i
// is for the model to predict: a token of an assistant's answer or the special
// token that ends it, in a turn for which want is true (nil: all). What the
// template writes behind that token belongs to the next prompt; the sample ends
// with the last answer.
//
// The template must write the prompt of every answer, with its generation
// prompt, as the beginning of the conversation that has the answer; the error
// wraps [ErrOpaque] if it does not.
func (f *Format) Sample(ctx context.Context, messages []Message, want func(turn int) bool) (ids []int32, learn []bool, err error) {
	if f.pieces {
		return nil, nil, errors.New("chat: samples of a format with Pieces are not supported")
	}
	var done []run // what ids stands for
	add := func(runs []run, answer bool) {
		ids = f.encode(ids, runs)
		for len(learn) < len(ids) {
			learn = append(learn, answer)
		}
	}
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		prompt, err := f.render(ctx, messages[:i], true)
		if err != nil {
			return nil, nil, fmt.Errorf("messages up to %d: %w", i, err)
		}
		whole, err := f.render(ctx, messages[:i+1], false)
		if err != nil {
			return nil, nil, fmt.Errorf("messages up to %d: %w", i+1, err)
		}
		next, ok := behind(prompt, done)
		if !ok {
			return nil, nil, fmt.Errorf("message %d: the text of earlier turns is not the beginning of this one's: %w", i, ErrOpaque)
		}
		answer, ok := behind(whole, prompt)
		if !ok {
			return nil, nil, fmt.Errorf("message %d: the generation prompt is not what the template writes in front of an answer: %w", i, ErrOpaque)
		}
		// Generation stops at the first token that ends a turn.
		if end := slices.IndexFunc(answer, func(r run) bool { return r.special && slices.Contains(f.stops, r.id) }); end >= 0 {
			answer = answer[:end+1]
		}
		if len(answer) == 0 {
			return nil, nil, fmt.Errorf("message %d: the template writes nothing for this answer", i)
		}
		add(next, false)
		add(answer, want == nil || want(i))
		done = append(slices.Clone(prompt), answer...)
	}
	return ids, learn, nil
}

// behind returns what runs have after those of head, if they begin with it. Text
// of head may end inside of a run's.
func behind(runs, head []run) (rest []run, ok bool) {
	runs, head = joined(runs), joined(head)
	if len(head) == 0 {
		return runs, true
	}
	last := len(head) - 1
	if len(runs) <= last || !slices.Equal(runs[:last], head[:last]) {
		return nil, false
	}
	if runs[last] == head[last] {
		return runs[last+1:], true
	}
	text, ok := strings.CutPrefix(runs[last].text, head[last].text)
	if !ok || runs[last].special || head[last].special {
		return nil, false
	}
	return append([]run{{text: text}}, runs[last+1:]...), true
}

// joined makes one run of neighbouring texts.
func joined(runs []run) []run {
	var out []run
	for _, r := range runs {
		if n := len(out); n > 0 && !r.special && !out[n-1].special {
			out[n-1].text += r.text
			continue
		}
		out = append(out, r)
	}
	return out
}
