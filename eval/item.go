package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/trit-ml/trit/internal/jsonl"
)

// Item is one question.
type Item struct {
	ID      string
	File    string // that it was read from
	Line    int
	Choices []Choice
	Gold    []int // the right choices
}

// Choice is one answer and what it is measured by.
type Choice struct {
	Context, Continuation string
	Chars, Bytes          int // length of the answer itself
}

// Options say how questions become text.
type Options struct {
	// Delimiter comes between context and choice, in lines that are questions
	// by themselves.
	Delimiter string
}

// DefaultOptions are the harness' own.
func DefaultOptions() Options { return Options{Delimiter: " "} }

// Read reads a file of questions; name is the file's, for errors, which name the
// line too.
func Read(name string, r io.Reader, o Options) ([]Item, error) {
	var items []Item
	seen := map[string]int{}
	lines := jsonl.NewReader(name, r)
	for {
		var l line
		ok, err := lines.Next(&l)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		item, err := l.item(o)
		if err != nil {
			return nil, lines.Errorf("%w", err)
		}
		item.File, item.Line = name, lines.Line()
		if item.ID == "" {
			item.ID = strconv.Itoa(item.Line)
		}
		if first, dup := seen[item.ID]; dup {
			return nil, lines.Errorf("the id %q is that of line %d", item.ID, first)
		}
		seen[item.ID] = item.Line
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s holds no questions", name)
	}
	return items, nil
}

// line is the union of the kinds of line.
type line struct {
	ID        json.RawMessage `json:"id"`
	Context   string          `json:"context"`
	Question  string          `json:"question"`
	Choices   *choices        `json:"choices"`
	Gold      json.RawMessage `json:"gold"`
	Answer    json.RawMessage `json:"answer"`
	AnswerKey json.RawMessage `json:"answerKey"`
	Label     json.RawMessage `json:"label"`

	DocID     json.RawMessage `json:"doc_id"`
	Doc       json.RawMessage `json:"doc"`
	Target    json.RawMessage `json:"target"`
	Arguments *arguments      `json:"arguments"`
}

func (l *line) item(o Options) (Item, error) {
	if l.Arguments != nil {
		return l.logged()
	}
	if l.Choices == nil {
		return Item{}, errors.New(`neither "choices" nor "arguments": not a question`)
	}
	context := l.Context
	if l.Question != "" {
		if context != "" {
			context += "\n"
		}
		context += "Question: " + l.Question + "\nAnswer:"
	}
	it := Item{ID: plain(l.ID)}
	for _, text := range l.Choices.Text {
		it.Choices = append(it.Choices, choice(context, o.Delimiter+text, text))
	}
	var gold json.RawMessage
	for _, g := range []json.RawMessage{l.Gold, l.Answer, l.AnswerKey, l.Label} {
		if g != nil {
			if gold != nil {
				return it, errors.New("more than one of gold, answer, answerKey and label")
			}
			gold = g
		}
	}
	if gold == nil {
		return it, errors.New(`no "gold" says which choice is right`)
	}
	var err error
	it.Gold, err = l.Choices.find(gold)
	return it, errors.Join(err, it.check())
}

func choice(context, continuation, answer string) Choice {
	return Choice{context, continuation, utf8.RuneCountInString(answer), len(answer)}
}

func (it *Item) check() error {
	if len(it.Choices) < 2 {
		return fmt.Errorf("%d choices, want at least 2", len(it.Choices))
	}
	for i, c := range it.Choices {
		if c.Bytes == 0 {
			return fmt.Errorf("choice %d is empty", i)
		}
	}
	for _, g := range it.Gold {
		if g < 0 || g >= len(it.Choices) {
			return fmt.Errorf("choice %d is said to be right, of %d choices", g, len(it.Choices))
		}
	}
	if len(it.Gold) == 0 {
		return errors.New("no choice is said to be right")
	}
	return nil
}

// choices is a list of texts, or texts with labels.
type choices struct {
	Text  []string `json:"text"`
	Label []string `json:"label"`
}

// UnmarshalJSON reads both forms.
func (c *choices) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(string(data), "[") {
		return json.Unmarshal(data, &c.Text)
	}
	type bare choices
	if err := json.Unmarshal(data, (*bare)(c)); err != nil {
		return err
	}
	if len(c.Label) != len(c.Text) {
		return fmt.Errorf("choices: %d texts and %d labels", len(c.Text), len(c.Label))
	}
	return nil
}

// find turns what a line says is right into indices.
func (c *choices) find(gold json.RawMessage) ([]int, error) {
	var list []int
	var index int
	var text string
	if json.Unmarshal(gold, &index) == nil {
		return []int{index}, nil
	}
	if json.Unmarshal(gold, &list) == nil {
		return list, nil
	}
	if json.Unmarshal(gold, &text) != nil {
		return nil, fmt.Errorf("gold is %s, want an index, a list of them, a label or a choice", gold)
	}
	for _, among := range [][]string{c.Label, c.Text} {
		if i := slices.Index(among, text); i >= 0 {
			return []int{i}, nil
		}
	}
	if len(text) == 1 && text[0] >= 'A' && int(text[0]-'A') < len(c.Text) {
		return []int{int(text[0] - 'A')}, nil
	}
	if i, err := strconv.Atoi(text); err == nil {
		return []int{i}, nil
	}
	return nil, fmt.Errorf("gold is %q, which is no label and no choice", text)
}

// plain is an id as text.
func plain(id json.RawMessage) string {
	var text string
	if json.Unmarshal(id, &text) == nil {
		return text
	}
	return string(id)
}
