package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/trit-ml/trit/internal/jsonl"
	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/tokenizer"
)

// The formats of training data.
const (
	Text = "text"
	Chat = "chat"
)

// Conversations is chat data: JSONL files with one conversation a line,
//
//	{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
//
// as OpenAI, Hugging Face and others write it. A message of the assistant may
// have "weight": 0, which makes it context that is not learned. Other keys are
// left alone, except for those that change what a conversation means (tools and
// tool calls), which are refused.
type Conversations struct {
	files   Corpus // all of them in Train
	holdout float64
	total   int64

	count     int
	low, high float64 // places of the conversations that are held out and not, whatever holdout says
}

// ScanChat reads all conversations once, and reports what is wrong with the
// file and the line. Each is held out or not by a hash of its content, so that
// the same conversation is never on both sides, and the split does not change
// when conversations are added.
func ScanChat(ctx context.Context, c Config) (*Conversations, error) {
	if len(c.Include) == 0 {
		c.Include = []string{"*.jsonl"}
	}
	parts, root, err := c.list()
	if err != nil {
		return nil, err
	}
	v := &Conversations{files: Corpus{Train: parts, root: root}, holdout: c.Holdout, total: Bytes(parts), low: 2, high: -1}
	err = v.each(ctx, func(s *conversation) error {
		at := s.place()
		v.low, v.high = min(v.low, at), max(v.high, at)
		v.count++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !(v.low < v.high) {
		return nil, fmt.Errorf("data: %s has %d conversations, but not two that differ: one is held out, one is trained on", c.Path, v.count)
	}
	return v, nil
}

// Len is the number of conversations.
func (v *Conversations) Len() int { return v.count }

// held reports whether a conversation is for validation.
func (v *Conversations) held(at float64) bool {
	return (at < v.holdout || at == v.low) && at != v.high
}

// conversation is a line of a file.
type conversation struct {
	messages []chat.Message
	learn    []bool
	line     *jsonl.Reader
}

func (s *conversation) place() float64 {
	text, _ := json.Marshal(struct {
		Messages []chat.Message
		Learn    []bool
	}{s.messages, s.learn})
	return place(string(text))
}

// each calls f for every conversation in the order of files and lines.
func (v *Conversations) each(ctx context.Context, f func(*conversation) error) error {
	for _, p := range v.files.Train {
		err := func() error {
			r, err := v.files.Open(p)
			if err != nil {
				return err
			}
			defer r.Close()
			lines := jsonl.NewReader(filepath.Join(v.files.root, filepath.FromSlash(p.Rel)), r)
			for {
				if err := ctx.Err(); err != nil {
					return err
				}
				var raw rawConversation
				ok, err := lines.Next(&raw)
				if err != nil || !ok {
					return err
				}
				s, err := raw.check()
				if err != nil {
					return lines.Errorf("%w", err)
				}
				s.line = lines
				if err := f(s); err != nil {
					return err
				}
			}
		}()
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	return nil
}

// rawConversation is a line as it stands there.
type rawConversation struct {
	Messages []struct {
		Role      *string         `json:"role"`
		Content   json.RawMessage `json:"content"`
		Weight    *float64        `json:"weight"`
		ToolCalls json.RawMessage `json:"tool_calls"`
	} `json:"messages"`
	Tools         json.RawMessage `json:"tools"`
	Conversations json.RawMessage `json:"conversations"`
	Prompt        json.RawMessage `json:"prompt"`
}

func absent(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null" || string(raw) == "[]"
}

func (raw *rawConversation) check() (*conversation, error) {
	switch {
	case !absent(raw.Tools):
		return nil, errors.New("tools are not supported")
	case len(raw.Messages) == 0 && !absent(raw.Conversations):
		return nil, errors.New(`no "messages": rename "conversations" to that, and its "from" and "value" to "role" and "content"`)
	case len(raw.Messages) == 0 && !absent(raw.Prompt):
		return nil, errors.New(`no "messages": make the prompt a message of the role user and the completion one of the role assistant`)
	case len(raw.Messages) == 0:
		return nil, errors.New(`no "messages", or none in it`)
	}
	s := &conversation{}
	learns := false
	for i, m := range raw.Messages {
		fail := func(format string, args ...any) (*conversation, error) {
			return nil, fmt.Errorf("messages[%d]: "+format, append([]any{i}, args...)...)
		}
		if m.Role == nil || *m.Role == "" {
			return fail("no role")
		}
		if !absent(m.ToolCalls) {
			return fail("tool calls are not supported")
		}
		var content *string
		if err := json.Unmarshal(m.Content, &content); err != nil && len(m.Content) > 0 {
			return fail("content is not text: %.40s", m.Content)
		}
		if content == nil {
			return fail("no content")
		}
		if m.Weight != nil && *m.Weight != 0 && *m.Weight != 1 {
			return fail("weight is %v, want 0 or 1", *m.Weight)
		}
		learn := *m.Role == "assistant" && (m.Weight == nil || *m.Weight == 1)
		if learn && *content == "" {
			return fail("the answer is empty; with \"weight\": 0 it is not learned")
		}
		learns = learns || learn
		s.messages = append(s.messages, chat.Message{Role: *m.Role, Content: *content})
		s.learn = append(s.learn, learn)
	}
	if !learns {
		return nil, errors.New("no message of the role assistant to learn")
	}
	return s, nil
}

// Bits of an id in a stream of conversations.
const (
	learnBit = 1 << 30 // to be predicted
	firstBit = 1 << 29 // begins a conversation
	idMask   = firstBit - 1
)

// Tokenize returns the conversations as token ids, from the cache folder if they
// are there already. Streams hold ids with the bits above; see [NewChatSampler].
// progress, if set, is called with the bytes of text done.
func (v *Conversations) Tokenize(ctx context.Context, f *chat.Format, tok *tokenizer.Tokenizer, cache string, progress func(done, total int64)) (*Tokens, error) {
	h := sha256.New()
	if err := tok.WriteJSON(h); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	fmt.Fprintf(h, "\nchat template %q, holdout %v of %d\n", f.Template().Source(), v.holdout, v.count)
	for _, p := range v.files.Train {
		fmt.Fprintf(h, "%q %d %d\n", p.Rel, p.Size, p.modified)
	}
	var done int64
	side := func(held bool) func(put func([]int32) error) (int, int64, error) {
		return func(put func([]int32) error) (docs int, size int64, err error) {
			err = v.each(ctx, func(s *conversation) error {
				if v.held(s.place()) != held {
					return nil
				}
				ids, learn, err := f.Sample(ctx, s.messages, func(turn int) bool { return s.learn[turn] })
				if err != nil {
					return s.line.Errorf("%w", err)
				}
				for i := range ids {
					if learn[i] {
						ids[i] |= learnBit
					}
				}
				ids[0] |= firstBit
				docs++
				for _, m := range s.messages {
					size += int64(len(m.Content))
				}
				done = min(done+size, v.total)
				if progress != nil {
					progress(done, v.total)
				}
				return put(ids)
			})
			return docs, size, err
		}
	}
	return store(cache, hex.EncodeToString(h.Sum(nil)), 4, side(false), side(true))
}
