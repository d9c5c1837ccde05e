package chat

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const chatML = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// TestSampleIsWhatAConversationFeeds follows a conversation turn by turn as
// inference does and demands the same ids, with the answers marked.
func TestSampleIsWhatAConversationFeeds(t *testing.T) {
	tok := bytesTokenizer(t, append(turnSpecials, "<|im_start|>", "<|im_end|>")...)
	talk := []Message{
		{"system", "Be <|eot_id|> brief."}, {"user", "Hey"}, {"assistant", "Hello, you.\n\nBye<|im_end|>!"},
		{"user", " again "}, {"assistant", "Ja: ü"}, {"user", "and"}, {"assistant", "x"}, {"user", "left out"},
	}
	for name, source := range map[string]string{"bitnet": BitNet, "headers": headers, "chatml": chatML} {
		f := NewFormat(parse(t, source), tok)
		got, learn, err := f.Sample(t.Context(), talk, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var want []int32
		var marks []bool
		for i, m := range talk {
			if m.Role != "assistant" {
				continue
			}
			keep, more, err := f.Continue(t.Context(), want, talk[:i])
			if err != nil || keep != len(want) {
				t.Fatalf("%s: %d of %d kept, %v", name, keep, len(want), err)
			}
			want = append(want, more...)
			marks = append(marks, make([]bool, len(more))...)
			answer := tok.Encode(nil, m.Content)
			// The token that ends the turn is the last stop of the format that
			// the template writes there.
			end := map[string]string{"bitnet": "<|eot_id|>", "headers": "<|eot_id|>", "chatml": "<|im_end|>"}[name]
			answer = append(answer, tok.Special(end))
			want = append(want, answer...)
			marks = append(marks, slices.Repeat([]bool{true}, len(answer))...)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %q\n%s", name, tok.Decode(got), d)
		}
		if d := cmp.Diff(marks, learn); d != "" {
			t.Errorf("%s: marks: %s", name, d)
		}
		// One turn alone.
		got, learn, err = f.Sample(t.Context(), talk, func(turn int) bool { return turn == 4 })
		if err != nil {
			t.Fatal(err)
		}
		var text []int32
		for i, id := range got {
			if learn[i] {
				text = append(text, id)
			}
		}
		if s := tok.Decode(text); !strings.HasPrefix(s, "Ja: ü") || strings.Contains(s, "x") {
			t.Errorf("%s: turn 4 is %q", name, s)
		}
	}
}

func TestSampleRefusals(t *testing.T) {
	tok := bytesTokenizer(t, turnSpecials...)
	talk := []Message{{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}}
	for name, source := range map[string]string{
		"prompt elsewhere": `{% for m in messages %}{{ m.role + m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}`,
		"forgets turns":    `{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.role + m.content }}<|eot_id|>{% endif %}{% endfor %}{% if add_generation_prompt %}assistant{% endif %}`,
	} {
		if _, _, err := NewFormat(parse(t, source), tok).Sample(t.Context(), talk, nil); !errors.Is(err, ErrOpaque) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := NewFormat(Default(), tok, Pieces()).Sample(t.Context(), talk, nil); err == nil {
		t.Error("pieces were accepted")
	}
}
