package eval

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadForms(t *testing.T) {
	const file = `{"context": "The sky is", "choices": ["blue", "grün"], "gold": 1}
{"id": "q2", "question": "2 + 3?", "choices": {"text": ["4", "5"], "label": ["1", "2"]}, "answerKey": "2"}

{"id": 7, "context": "Sums.", "question": "2 + 3?", "choices": ["4", "5", "6"], "answer": "B"}
{"context": "", "choices": ["3", "1"], "gold": "1"}
{"context": "c", "choices": ["x", "y", "z"], "label": [0, 2]}
{"doc_id": 8, "doc": {"choices": [" a", "bb"]}, "target": "1", "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": "  a"}, "gen_args_1": {"arg_0": "Q", "arg_1": " bb"}}, "resps": [[["-1", "True"]]], "acc": 1.0}
{"doc_id": 9, "doc": {"choices": 3}, "target": "[0, 1]", "arguments": [["Q", " a"], ["R", " a"]]}
{"doc_id": 10, "target": "b", "arguments": [["Q", " a"], ["Q", " b"], ["", " a"], ["", " b"]]}
`
	got, err := Read("f", strings.NewReader(file), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	ask := "Question: 2 + 3?\nAnswer:"
	want := []Item{
		{"1", "f", 1, []Choice{{"The sky is", " blue", 4, 4}, {"The sky is", " grün", 4, 5}}, []int{1}},
		{"q2", "f", 2, []Choice{{ask, " 4", 1, 1}, {ask, " 5", 1, 1}}, []int{1}},
		{"7", "f", 4, []Choice{{"Sums.\n" + ask, " 4", 1, 1}, {"Sums.\n" + ask, " 5", 1, 1}, {"Sums.\n" + ask, " 6", 1, 1}}, []int{1}},
		{"5", "f", 5, []Choice{{"", " 3", 1, 1}, {"", " 1", 1, 1}}, []int{1}},
		{"6", "f", 6, []Choice{{"c", " x", 1, 1}, {"c", " y", 1, 1}, {"c", " z", 1, 1}}, []int{0, 2}},
		{"8", "f", 7, []Choice{{"Q", "  a", 2, 2}, {"Q", " bb", 2, 2}}, []int{1}},
		{"9", "f", 8, []Choice{{"Q", " a", 1, 1}, {"R", " a", 1, 1}}, []int{0, 1}},
		{"10", "f", 9, []Choice{{"Q", " a", 1, 1}, {"Q", " b", 1, 1}}, []int{1}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, "no questions"},
		{`{`, "f:1: "},
		{`{"context": "x"}`, "f:1: neither"},
		{`{"choices": ["a"], "gold": 0}`, "f:1: 1 choices"},
		{`{"choices": ["a", ""], "gold": 0}`, "choice 1 is empty"},
		{`{"choices": ["a", "b"]}`, `no "gold"`},
		{`{"choices": ["a", "b"], "gold": 2}`, "choice 2 is said"},
		{`{"choices": ["a", "b"], "gold": -1}`, "choice -1 is said"},
		{`{"choices": ["a", "b"], "gold": []}`, "no choice is said"},
		{`{"choices": ["a", "b"], "gold": "c"}`, `"c"`},
		{`{"choices": ["a", "b"], "gold": {}}`, "want an index"},
		{`{"choices": ["a", "b"], "gold": 0, "label": 1}`, "more than one"},
		{`{"choices": {"text": ["a", "b"], "label": ["x"]}, "gold": 0}`, "2 texts and 1 labels"},
		{`{"choices": ["a", "b"], "gold": 0}` + "\n" + `{"id": "1", "choices": ["a", "b"], "gold": 0}`, `f:2: the id "1" is that of line 1`},
		{`{"arguments": 3, "target": 0}`, "want pairs"},
		{`{"arguments": [["a"]], "target": 0}`, "1 parts"},
		{`{"arguments": [["a", "b"], ["c", "d"]]}`, `no "target"`},
		{`{"arguments": [["a", "b"], ["c", "d"]], "target": "e"}`, `"e"`},
		{`{"arguments": {"gen_args_1": {}}, "target": 0}`, `no "gen_args_0"`},
		{`{"arguments": {"gen_args_0": {"arg_0": "a", "arg_1": {"until": []}}}, "target": 0}`, "generates"},
	} {
		_, err := Read("f", strings.NewReader(c.line), DefaultOptions())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.line, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}`)
	f.Add(`{"doc_id": 1, "doc": {"choices": ["a", "b"]}, "target": "1", "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " a"}}}`)
	f.Add(`{"target": "[0, 1]", "arguments": [["Q", " a"], ["R", " a"], ["", " a"], ["", " a"]]}`)
	f.Fuzz(func(t *testing.T, line string) {
		items, err := Read("f", strings.NewReader(line), DefaultOptions())
		for _, it := range items {
			if err == nil && it.check() != nil {
				t.Errorf("%+v is accepted", it)
			}
		}
	})
}
