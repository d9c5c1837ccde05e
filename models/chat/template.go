package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trit-ml/trit/internal/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user, assistant, or what the template knows
	Content string `json:"content"`
}

// Vars are the values beside the messages that templates look at.
type Vars struct {
	// AddGenerationPrompt ends the text where the assistant's answer begins.
	AddGenerationPrompt bool
	BOS, EOS            string    // names of the special tokens, "" if there are none
	Now                 time.Time // what the template takes for the time; zero: the clock
}

// BitNet is the template of BitNet b1.58 2B4T, as its tokenizer_config.json
// has it.
const BitNet = `{% for message in messages %}` +
	`{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}` +
	`{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}`

// Default returns the template [BitNet], for checkpoints that have none.
func Default() *Template {
	t, err := Parse("the default chat template", BitNet)
	if err != nil {
		panic(err) // a constant
	}
	return t
}

// ErrRefused is wrapped by the error of a template that does not accept the
// messages, for example two of the same role in a row.
var ErrRefused = errors.New("the template refuses these messages")

// Template is a parsed chat template. It does not change and is safe for
// concurrent use.
//
// A template is a program out of a downloaded file: it can do nothing but write
// text, and the work, the text and the nesting of a rendering are bounded.
type Template struct {
	name, source string
	t            *jinja.Template
}

// Parse reads a template. White space around tags is trimmed as transformers
// does it. name is for error messages.
func Parse(name, source string) (*Template, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("chat: %s: %w", name, err)
	}
	return &Template{name, source, t}, nil
}

// Name returns the name given to [Parse].
func (t *Template) Name() string { return t.name }

// Source returns the template's text.
func (t *Template) Source() string { return t.source }

// Render writes the conversation as text. Bytes of messages that are not UTF-8
// become U+FFFD. An error names the template and the line.
func (t *Template) Render(ctx context.Context, messages []Message, v Vars) (string, error) {
	size := len(v.BOS) + len(v.EOS)
	list := make([]any, len(messages))
	for i, m := range messages {
		size += len(m.Role) + len(m.Content)
		list[i] = jinja.NewDict("role", valid(m.Role), "content", valid(m.Content))
	}
	if v.Now.IsZero() {
		v.Now = time.Now()
	}
	vars := map[string]any{
		"messages":              jinja.NewList(list...),
		"add_generation_prompt": v.AddGenerationPrompt,
		"strftime_now":          jinja.Func(func(a *jinja.Args) (any, error) { return strftime(v.Now, a.Text(0)) }),
	}
	// transformers leaves the name of an absent token undefined.
	if v.BOS != "" {
		vars["bos_token"] = v.BOS
	}
	if v.EOS != "" {
		vars["eos_token"] = v.EOS
	}
	text, err := t.t.Render(ctx, vars, jinja.DefaultLimits(size))
	var raised *jinja.Raised
	switch {
	case errors.As(err, &raised):
		return "", fmt.Errorf("chat: %s: %w: %w", t.name, ErrRefused, err)
	case err != nil:
		return "", fmt.Errorf("chat: %s: %w", t.name, err)
	}
	return text, nil
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// strftime formats a time by the directives that templates use.
func strftime(t time.Time, format string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			out.WriteByte('%')
			continue
		}
		layout := ""
		if i < len(format) {
			layout = layouts[format[i]]
		}
		if layout == "" {
			return "", fmt.Errorf("strftime_now: the format %.40q is not supported", format)
		}
		out.WriteString(t.Format(layout))
	}
	return out.String(), nil
}

var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'm': "01", 'y': "06", 'Y': "2006",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'F': "2006-01-02", 'T': "15:04:05", 'j': "002",
	'Z': "MST", 'z': "-0700",
}
