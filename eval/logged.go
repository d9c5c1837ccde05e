package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// arguments are the requests that the harness made of a question: pairs of
// context and continuation.
type arguments [][2]string

// UnmarshalJSON reads the form of sanitized samples, an object of objects, and
// the older list of lists.
func (a *arguments) UnmarshalJSON(data []byte) error {
	var list [][]string
	if err := json.Unmarshal(data, &list); err != nil {
		var objects map[string]map[string]json.RawMessage
		if json.Unmarshal(data, &objects) != nil {
			return errors.New("arguments: want pairs of context and continuation, as the harness writes them")
		}
		for i := range len(objects) {
			name := fmt.Sprintf("gen_args_%d", i)
			o, ok := objects[name]
			if !ok {
				return fmt.Errorf("arguments: no %q among %d", name, len(objects))
			}
			pair := make([]string, len(o))
			for j := range pair {
				if err := json.Unmarshal(o[fmt.Sprintf("arg_%d", j)], &pair[j]); err != nil {
					return fmt.Errorf("arguments: %s: arg_%d is no text: a task that generates is not a multiple-choice one", name, j)
				}
			}
			list = append(list, pair)
		}
	}
	for i, pair := range list {
		if len(pair) != 2 {
			return fmt.Errorf("arguments: request %d has %d parts, want context and continuation", i, len(pair))
		}
		*a = append(*a, [2]string(pair))
	}
	return nil
}

// logged is the item of a sample that the harness logged.
func (l *line) logged() (Item, error) {
	it := Item{ID: plain(l.DocID)}
	requests := (*l.Arguments).conditional()
	answers := l.answers(requests)
	for i, r := range requests {
		it.Choices = append(it.Choices, choice(r[0], r[1], answers[i]))
	}
	if l.Target == nil {
		return it, errors.New(`no "target" says which choice is right`)
	}
	gold, err := target(l.Target, answers)
	it.Gold = gold
	return it, errors.Join(err, it.check())
}

// conditional drops the second half of the requests if it repeats the
// continuations without context, as acc_mutual_info has it.
func (a arguments) conditional() arguments {
	half := len(a) / 2
	if half < 2 || len(a)%2 != 0 {
		return a
	}
	for i := range half {
		if a[half+i][0] != "" || a[half+i][1] != a[i][1] || a[i][0] == "" {
			return a
		}
	}
	return a[:half]
}

// answers are the choices without the delimiter in front, which the sample does
// not name: the document's own choices where they end the continuations, else
// the continuations without white space in front.
func (l *line) answers(requests arguments) []string {
	var doc struct {
		Choices *choices `json:"choices"`
	}
	texts := make([]string, len(requests))
	known := json.Unmarshal(l.Doc, &doc) == nil && doc.Choices != nil && len(doc.Choices.Text) == len(requests)
	for i := range requests {
		known = known && strings.HasSuffix(requests[i][1], doc.Choices.Text[i])
	}
	for i, r := range requests {
		if texts[i] = strings.TrimLeft(r[1], " \t\n"); known {
			texts[i] = doc.Choices.Text[i]
		}
	}
	return texts
}

// target reads what the harness made a string of: an index, a list of them, or
// the choice itself.
func target(raw json.RawMessage, answers []string) ([]int, error) {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	var index int
	if json.Unmarshal([]byte(text), &index) == nil {
		return []int{index}, nil
	}
	var list []int
	if json.Unmarshal([]byte(text), &list) == nil {
		return list, nil
	}
	for i, a := range answers {
		if a == text {
			return []int{i}, nil
		}
	}
	return nil, fmt.Errorf("target is %q, which is no index and no choice", text)
}
