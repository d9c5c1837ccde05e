package tokenizer

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/internal/golden"
)

var llama3Once struct {
	sync.Mutex
	t     *Tokenizer
	forms map[string]*Tokenizer
}

// llama3 returns the Llama 3 tokenizer, read once for all tests.
func llama3(t testing.TB) *Tokenizer {
	t.Helper()
	path := golden.Path(t, "tokenizer", "llama3-tokenizer.model")
	llama3Once.Lock()
	defer llama3Once.Unlock()
	if llama3Once.t == nil {
		tok, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		llama3Once.t = tok
	}
	return llama3Once.t
}

type vectors struct {
	Pattern string
	Special map[string]int32
	Cases   []struct {
		Text string
		IDs  []int32
	}
	Chats []struct {
		Messages  [][2]string
		Text      string
		Whole     []int32 `json:"ids_whole_string"`
		Piecewise []int32 `json:"ids_ms_gpu_piecewise"`
	}
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile(golden.Path(t, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// llama3Forms returns the tokenizer as read from ranks, from a tokenizer.json
// that was saved, and from arrays as GGUF has them.
func llama3Forms(t *testing.T) map[string]*Tokenizer {
	t.Helper()
	ranks := llama3(t)
	llama3Once.Lock()
	defer llama3Once.Unlock()
	if llama3Once.forms != nil {
		return llama3Once.forms
	}
	var b bytes.Buffer
	if err := ranks.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	fromJSON, err := ParseJSON("saved", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	v, err := ranks.Vocab()
	if err != nil {
		t.Fatal(err)
	}
	fromArrays, err := New("arrays", v)
	if err != nil {
		t.Fatal(err)
	}
	llama3Once.forms = map[string]*Tokenizer{"ranks": ranks, "json": fromJSON, "arrays": fromArrays}
	return llama3Once.forms
}

func TestLlama3Vectors(t *testing.T) {
	v := readVectors(t)
	if len(v.Cases) != 269 || len(v.Chats) != 3 {
		t.Fatalf("%d texts and %d chats, want 269 and 3", len(v.Cases), len(v.Chats))
	}
	if v.Pattern != patternLlama3 {
		t.Errorf("the vectors' pattern is %q", v.Pattern)
	}
	for form, tok := range llama3Forms(t) {
		if got := tok.VocabSize(); got != 128256 {
			t.Errorf("%s: vocabulary of %d", form, got)
		}
		for name, id := range v.Special {
			if got := tok.Special(name); got != id {
				t.Errorf("%s: %s is %d, want %d", form, name, got, id)
			}
		}
		for _, c := range v.Cases {
			got := tok.Encode(nil, c.Text)
			if !slices.Equal(got, c.IDs) {
				t.Errorf("%s: %q:\n got %v\nwant %v", form, c.Text, got, c.IDs)
			}
			if back := tok.Decode(got); back != c.Text {
				t.Errorf("%s: %q decodes to %q", form, c.Text, back)
			}
		}
		for _, c := range v.Chats {
			if got := tok.Encode(nil, c.Text, Specials); !slices.Equal(got, c.Whole) {
				t.Errorf("%s: %q:\n got %v\nwant %v", form, c.Text, got, c.Whole)
			}
			bare := strings.TrimPrefix(c.Text, "<|begin_of_text|>")
			if got := tok.Encode(nil, bare, Specials, tok.Defaults()); !slices.Equal(got, c.Whole) {
				t.Errorf("%s: %q with defaults:\n got %v\nwant %v", form, bare, got, c.Whole)
			}
			if got := tok.Decode(c.Whole); got != c.Text {
				t.Errorf("%s: chat decodes to %q, want %q", form, got, c.Text)
			}
			got := []int32{tok.BOS()}
			for _, m := range c.Messages {
				role := strings.ToUpper(m[0][:1]) + m[0][1:]
				got = tok.Encode(got, role+": ")
				got = tok.Encode(got, strings.TrimSpace(m[1]))
				got = append(got, tok.Special("<|eot_id|>"))
			}
			got = tok.Encode(got, "Assistant: ")
			if !slices.Equal(got, c.Piecewise) {
				t.Errorf("%s: piecewise %q:\n got %v\nwant %v", form, c.Text, got, c.Piecewise)
			}
		}
		if d := cmp.Diff([]int32{128001, 128009}, tok.Stops()); d != "" {
			t.Errorf("%s: stops: %s", form, d)
		}
	}
}

func TestLlamaCppVectors(t *testing.T) {
	tok := llama3(t)
	in, err := os.ReadFile(golden.Path(t, "tokenizer", "llama-bpe.inp"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(golden.Path(t, "tokenizer", "llama-bpe.out"))
	if err != nil {
		t.Fatal(err)
	}
	texts := strings.Split(string(in), "\n__ggml_vocab_test__\n")
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if texts[len(texts)-1] == "" && len(texts) == len(lines)+1 {
		texts = texts[:len(texts)-1]
	}
	if len(texts) != 46 || len(lines) != 46 {
		t.Fatalf("%d texts and %d lines, want 46", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for _, f := range strings.Fields(lines[i]) {
			id, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, int32(id))
		}
		if got := tok.Encode(nil, text); !slices.Equal(got, want) {
			t.Errorf("%q:\n got %v\nwant %v", text, got, want)
		}
	}
}

// Ranks, a saved tokenizer.json and GGUF arrays give the same ids, also for
// periodic texts, where a pair's rank and a token's rank could come to differ.
func TestLlama3FormsAgree(t *testing.T) {
	forms := llama3Forms(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 30_000 {
		text := randomText(rng)
		if i%2 == 0 {
			unit := string("abcdefs =-.\xc3\xa9"[rng.IntN(13):][:1]) + string("aab \xa9."[rng.IntN(6):][:1])
			text = strings.Repeat(unit, rng.IntN(40)) + text
		}
		want := forms["ranks"].Encode(nil, text)
		for name, tok := range forms {
			if got := tok.Encode(nil, text); !slices.Equal(got, want) {
				t.Fatalf("%s: %q:\n got %v\nwant %v", name, text, got, want)
			}
		}
		if got := forms["ranks"].Decode(want); got != text {
			t.Fatalf("%q decodes to %q", text, got)
		}
	}
}

func TestLlama3Folder(t *testing.T) {
	tok := llama3(t)
	dir := filepath.Join(t.TempDir(), "model")
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	back, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.BOS() != 128000 || back.EOS() != 128001 || back.Defaults() != BOS {
		t.Errorf("bos %d, eos %d, defaults %d", back.BOS(), back.EOS(), back.Defaults())
	}
	if d := cmp.Diff(tok.text, back.text); d != "" {
		t.Errorf("tokens: %s", d)
	}
	if d := cmp.Diff(tok.kinds, back.kinds); d != "" {
		t.Errorf("kinds: %s", d)
	}
	if len(back.merges) != 280147 {
		t.Errorf("%d merges, want 280147, the number in the published file", len(back.merges))
	}
}
