package chat

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/trit-ml/trit/models/tokenizer"
)

// Format joins a template and a tokenizer. It is safe for concurrent use.
type Format struct {
	template *Template
	tok      *tokenizer.Tokenizer
	specials *specials
	pieces   bool
	stops    []int32
}

// Option changes a Format.
type Option func(*Format)

// Pieces encodes the content of every message by itself instead of together
// with the text around it, as Microsoft's demonstration for GPUs does.
func Pieces() Option { return func(f *Format) { f.pieces = true } }

// NewFormat joins a template and a tokenizer.
func NewFormat(t *Template, tok *tokenizer.Tokenizer, options ...Option) *Format {
	f := &Format{template: t, tok: tok, specials: newSpecials(tok)}
	for _, o := range options {
		o(f)
	}
	f.stops = f.findStops()
	return f
}

// Template returns the format's template.
func (f *Format) Template() *Template { return f.template }

// Stops returns the tokens that end an answer, in increasing order: those that
// the tokenizer knows to end a text or a turn, and the one that the template
// puts behind what an assistant said.
func (f *Format) Stops() []int32 { return slices.Clone(f.stops) }

func (f *Format) findStops() []int32 {
	stops := f.tok.Stops()
	const answer = "answer"
	// A template may refuse this conversation, or write something else behind
	// the answer than one special token; then it tells nothing.
	runs, err := f.render(context.Background(), []Message{{"user", "question"}, {"assistant", answer}}, false)
	if err == nil {
		for i, r := range runs {
			if i > 0 && r.special && strings.HasSuffix(runs[i-1].text, answer) {
				stops = append(stops, r.id)
				break
			}
		}
	}
	slices.Sort(stops)
	return slices.Compact(stops)
}

// Prompt returns the text of a conversation up to where the answer begins, the
// token that begins a text included if the tokenizer asks for it. It is for
// people: text in it that looks like a special token may be none, see [Encode].
func (f *Format) Prompt(ctx context.Context, messages []Message) (string, error) {
	runs, err := f.render(ctx, messages, true)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.text)
	}
	return b.String(), nil
}

// Encode returns the ids of a conversation up to where the answer begins. The
// token that begins a text comes first if the template writes it or the
// tokenizer's own defaults ask for it, and only once.
func (f *Format) Encode(ctx context.Context, messages []Message) ([]int32, error) {
	runs, err := f.render(ctx, messages, true)
	if err != nil {
		return nil, err
	}
	return f.encode(nil, runs), nil
}

// run is a special token, or text between two that is encoded as a whole.
type run struct {
	text    string // of a special token its name
	special bool
	id      int32
}

func (f *Format) encode(dst []int32, runs []run) []int32 {
	for _, r := range runs {
		if r.special {
			dst = append(dst, r.id)
		} else {
			dst = f.tok.Encode(dst, r.text)
		}
	}
	return dst
}

// render applies the template and cuts its text at the special tokens.
func (f *Format) render(ctx context.Context, messages []Message, prompt bool) ([]run, error) {
	texts := make([]string, 0, 2*len(messages)+1)
	for _, m := range messages {
		texts = append(texts, m.Role, m.Content)
	}
	broken, border, err := unusedMarks(append(texts, f.template.source))
	if err != nil {
		return nil, err
	}
	marked := make([]Message, len(messages))
	for i, m := range messages {
		content := f.specials.breakUp(valid(m.Content), broken)
		if f.pieces {
			content = enclose(content, border)
		}
		marked[i] = Message{f.specials.breakUp(valid(m.Role), broken), content}
	}
	text, err := f.template.Render(ctx, marked, Vars{
		AddGenerationPrompt: prompt,
		BOS:                 f.name(f.tok.BOS()),
		EOS:                 f.name(f.tok.EOS()),
	})
	if err != nil {
		return nil, err
	}
	runs := f.cut(text, broken, border)
	bos := f.tok.BOS()
	if f.tok.Defaults()&tokenizer.BOS != 0 && bos != tokenizer.None && !(len(runs) > 0 && runs[0].special && runs[0].id == bos) {
		runs = append([]run{{f.name(bos), true, bos}}, runs...)
	}
	return runs, nil
}

func (f *Format) name(id int32) string {
	if id == tokenizer.None {
		return ""
	}
	return f.tok.Token(id)
}

// enclose puts marks around content, inside the white space at its ends, which
// templates trim.
func enclose(content string, border rune) string {
	core := strings.TrimFunc(content, unicode.IsSpace)
	if core == "" {
		return content
	}
	i := strings.Index(content, core)
	return content[:i] + string(border) + core + string(border) + content[i+len(core):]
}

// cut takes rendered text apart at special tokens and borders, and takes the
// marks out.
func (f *Format) cut(text string, broken, border rune) []run {
	var runs []run
	plain := func(s string) {
		for part := range strings.SplitSeq(s, string(border)) {
			if part = strings.ReplaceAll(part, string(broken), ""); part != "" {
				runs = append(runs, run{text: part})
			}
		}
	}
	from := 0
	for {
		start, end, id, ok := f.specials.find(text, from)
		if !ok {
			break
		}
		plain(text[from:start])
		runs = append(runs, run{text[start:end], true, id})
		from = end
	}
	plain(text[from:])
	return runs
}
