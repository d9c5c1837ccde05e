package chat

import (
	"encoding/json"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/models/tokenizer"
)

var llama3Once struct {
	sync.Mutex
	tok *tokenizer.Tokenizer
}

// llama3 returns the Llama 3 tokenizer in the form that puts BOS in front of a
// text, as the published tokenizer.json asks for.
func llama3(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	path := golden.Path(t, "tokenizer", "llama3-tokenizer.model")
	llama3Once.Lock()
	defer llama3Once.Unlock()
	if llama3Once.tok == nil {
		plain, err := tokenizer.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := plain.Vocab()
		if err != nil {
			t.Fatal(err)
		}
		yes := true
		v.AddBOS = &yes
		if llama3Once.tok, err = tokenizer.New(path, v); err != nil {
			t.Fatal(err)
		}
	}
	return llama3Once.tok
}

type goldenChat struct {
	Messages [][2]string
	Text     string
	Whole    []int32 `json:"ids_whole_string"`
	Pieces   []int32 `json:"ids_ms_gpu_piecewise"`
}

func goldenChats(t testing.TB) []goldenChat {
	t.Helper()
	data, err := os.ReadFile(golden.Path(t, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Chats []goldenChat }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Chats) == 0 {
		t.Fatal("no chats in tokenizer.json")
	}
	return v.Chats
}

func messages(pairs [][2]string) []Message {
	list := make([]Message, len(pairs))
	for i, p := range pairs {
		list[i] = Message{p[0], p[1]}
	}
	return list
}

// The published conversations have the published ids, in both ways to encode.
func TestGolden(t *testing.T) {
	tok := llama3(t)
	whole, pieces := NewFormat(Default(), tok), NewFormat(Default(), tok, Pieces())
	for _, c := range goldenChats(t) {
		text, err := whole.Prompt(t.Context(), messages(c.Messages))
		if err != nil {
			t.Fatal(err)
		}
		if text != c.Text {
			t.Errorf("text %q, want %q", text, c.Text)
		}
		ids, err := whole.Encode(t.Context(), messages(c.Messages))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.Whole, ids); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.Text, diff)
		}
		if ids, err = pieces.Encode(t.Context(), messages(c.Messages)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.Pieces, ids); diff != "" {
			t.Errorf("%q in pieces (-want +got):\n%s", c.Text, diff)
		}
	}
	if diff := cmp.Diff([]int32{128001, 128009}, whole.Stops()); diff != "" {
		t.Errorf("stops (-want +got):\n%s", diff)
	}
}

// A conversation turn by turn reads, together, what it reads at once, where the
// answers are spelt as the tokenizer spells them.
func TestContinueGolden(t *testing.T) {
	f := NewFormat(Default(), llama3(t), Pieces())
	c := goldenChats(t)[2] // system, user, assistant, user
	all := messages(c.Messages)
	fed, err := f.Encode(t.Context(), all[:2])
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range [][]int32{{128009}, {}} { // with and without the end of the turn
		read := append(fed[:len(fed):len(fed)], f.tok.Encode(nil, "2")...)
		read = append(read, end...)
		keep, more, err := f.Continue(t.Context(), read, all)
		if err != nil {
			t.Fatal(err)
		}
		if keep != len(read) {
			t.Errorf("keeps %d of %d", keep, len(read))
		}
		if diff := cmp.Diff(c.Pieces, append(read[:keep:keep], more...)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
