package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/runtime"
)

// ChatFormat is how the model's conversations are written: the checkpoint's own
// template, or BitNet b1.58's. note says which default was taken.
func (m *Model) ChatFormat() (f *chat.Format, note string, err error) {
	if m.Tokenizer == nil {
		return nil, "", m.noTokenizer()
	}
	t := chat.Default()
	switch {
	case m.Checkpoint == nil:
	case m.Checkpoint.Vocab() != nil && m.Checkpoint.Vocab().ChatTemplate != "":
		t, err = chat.Parse(m.Name+": tokenizer.chat_template", m.Checkpoint.Vocab().ChatTemplate)
	case m.Checkpoint.Vocab() == nil:
		var own *chat.Template
		if own, err = chat.Find(m.Checkpoint.File); errors.Is(err, fs.ErrNotExist) {
			err = nil
		} else if own != nil {
			t = own
		}
	}
	if err != nil {
		return nil, "", err
	}
	if t == chat.Default() || t.Name() == chat.Default().Name() {
		note = m.Name + " has no chat template; BitNet b1.58's is used"
	}
	return chat.NewFormat(t, m.Tokenizer), note, nil
}

// Conversation is a chat with one sequence that keeps its place in the cache
// between turns.
type Conversation struct {
	e        *Engine
	format   *chat.Format
	stops    map[int32]bool
	q        runtime.Seq
	fed      []int32 // what the sequence has read, the last answer included
	Messages []chat.Message
}

// Converse opens a conversation, with a system message if it is not empty.
func (e *Engine) Converse(f *chat.Format, system string) (*Conversation, error) {
	q, err := e.Session.Open()
	if err != nil {
		return nil, err
	}
	c := &Conversation{e: e, format: f, q: q, stops: map[int32]bool{}}
	for _, id := range append(f.Stops(), e.Model.Stops()...) {
		c.stops[id] = true
	}
	if system != "" {
		c.Messages = append(c.Messages, chat.Message{Role: "system", Content: system})
	}
	return c, nil
}

// Close ends the sequence.
func (c *Conversation) Close() error { return c.e.Session.End(c.q) }

// Reset forgets everything but a system message.
func (c *Conversation) Reset() error {
	c.fed = nil
	if len(c.Messages) > 0 && c.Messages[0].Role == "system" {
		c.Messages = c.Messages[:1]
	} else {
		c.Messages = nil
	}
	return c.e.Session.Truncate(c.q, 0)
}

// Say adds a user's message and draws the answer, calling emit with each piece
// of its text. If ctx is cancelled the answer so far stays part of the
// conversation.
func (c *Conversation) Say(ctx context.Context, text string, o runtime.Sampling, maxTokens int, emit func(string) error) (st Stats, err error) {
	messages := append(c.Messages, chat.Message{Role: "user", Content: text})
	keep, more, err := c.format.Continue(ctx, c.fed, messages)
	if err != nil {
		return st, err
	}
	// What was fed but not run (the end of the last answer) is fed again.
	ran := c.e.Session.Len(c.q)
	again := c.fed[min(ran, keep):keep]
	if err := c.e.Session.Truncate(c.q, min(ran, keep)); err != nil {
		return st, err
	}
	prompt := append(append([]int32(nil), again...), more...)
	if room := c.e.Session.Context() - min(ran, keep) - len(prompt); room < 1 {
		return st, fmt.Errorf("the conversation has filled the context of %d tokens: start a new one", c.e.Session.Context())
	}
	c.Messages = messages
	c.fed = append(c.fed[:keep:keep], more...)
	sampler, err := runtime.NewSampler(c.e.Session.Vocab(), o)
	if err != nil {
		return st, err
	}
	answer := ""
	stream := c.e.Model.Tokenizer.Stream()
	say := func(s string) error { answer += s; return emit(s) }
	st, ids, err := c.e.draw(ctx, c.q, prompt, sampler, maxTokens, func(id int32) bool { return c.stops[id] }, func(id int32) error { return say(stream.Push(id)) })
	c.fed = append(c.fed, ids...)
	if err2 := say(stream.Flush()); err == nil {
		err = err2
	}
	c.Messages = append(c.Messages, chat.Message{Role: "assistant", Content: answer})
	return st, err
}
