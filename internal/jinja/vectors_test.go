package jinja

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is a template with what Jinja2 makes of it in the environment that
// transformers sets up; testdata/generate.py writes them. The templates are
// ours, in the styles of published ones.
type vector struct {
	Name, Template string
	Cases          []struct {
		Messages   [][2]string
		Generation bool
		Text       *string
		Error      string
	}
}

func vars(messages [][2]string, generation bool) map[string]any {
	list := NewList()
	for _, m := range messages {
		list.items = append(list.items, NewDict("role", m[0], "content", m[1]))
	}
	return map[string]any{
		"messages": list, "add_generation_prompt": generation, "bos_token": "<s>", "eos_token": "</s>",
		"strftime_now": Func(func(a *Args) (any, error) { return "04 Jul 2026", nil }),
	}
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "jinja2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v []vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTemplates(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			tpl, err := Parse(v.Template)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range v.Cases {
				got, err := tpl.Render(t.Context(), vars(c.Messages, c.Generation), Limits{})
				if c.Text == nil {
					if err == nil || !strings.Contains(err.Error(), c.Error) {
						t.Errorf("%q: got %q, %v, want an error with %q", c.Messages, got, err, c.Error)
					}
					continue
				}
				if err != nil {
					t.Errorf("%q: %v", c.Messages, err)
				} else if diff := cmp.Diff(*c.Text, got); diff != "" {
					t.Errorf("%q, generation %v (-jinja2 +got):\n%s", c.Messages, c.Generation, diff)
				}
			}
		})
	}
}

// Random expressions and layouts mean what they mean to Jinja2, errors
// included.
func TestRandom(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "random.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][2]*string
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	messages := [][2]string{{"system", "S"}, {"user", "1+1?"}, {"assistant", "2"}, {"user", "and 2+2?"}}
	for _, row := range rows {
		source, want := *row[0], row[1]
		got, err := render(t, source, vars(messages, true))
		switch {
		case want == nil && err == nil:
			t.Errorf("%s\n got %q, want an error", source, got)
		case want != nil && err != nil && (strings.Contains(err.Error(), ": text % ") || strings.Contains(err.Error(), ": a slice of ")):
			// Formatting is left out on purpose. Slices of what has none are
			// undefined in Jinja2 if they are constant, and otherwise errors.
		case want != nil && err != nil:
			t.Errorf("%s\n got %v\nwant %q", source, err, *want)
		case want != nil && got != *want:
			t.Errorf("%s\n got %q\nwant %q", source, got, *want)
		}
	}
}

func render(t testing.TB, source string, vars map[string]any) (string, error) {
	tpl, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tpl.Render(t.Context(), vars, Limits{})
}
