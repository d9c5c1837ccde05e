package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/tokenizer"
)

func chatFormat(t testing.TB) (*chat.Format, *tokenizer.Tokenizer) {
	t.Helper()
	tok, err := tokenizer.NewBytes("<|eot_id|>")
	if err != nil {
		t.Fatal(err)
	}
	return chat.NewFormat(chat.Default(), tok), tok
}

// talks writes n conversations of different lengths into two files.
func talks(t testing.TB, n int) string {
	t.Helper()
	lines := make([]string, 2)
	for i := range n {
		lines[i%2] += fmt.Sprintf(`{"id": %d, "messages": [{"role": "user", "content": "ask %d"}, {"role": "assistant", "content": "answer %s"}]}`+"\n", i, i, strings.Repeat("x", i%17))
	}
	dir := t.TempDir()
	for i, text := range lines {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func tokenizeChat(t testing.TB, dir, cache string) *Tokens {
	t.Helper()
	f, tok := chatFormat(t)
	v, err := ScanChat(t.Context(), Config{Path: dir, Holdout: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	ts, err := v.Tokenize(t.Context(), f, tok, cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ts.Close() })
	return ts
}

// TestChatStreams reads the streams back: every conversation is on one side, as
// the format encodes it.
func TestChatStreams(t *testing.T) {
	dir, cache := talks(t, 40), t.TempDir()
	ts := tokenizeChat(t, dir, cache)
	again := tokenizeChat(t, dir, cache)
	if ts.ID != again.ID {
		t.Error("the cache has another identity")
	}
	_, tok := chatFormat(t)
	seen := map[string]bool{}
	for _, s := range []*Stream{&ts.Train, &ts.Valid} {
		ids := all(s)
		for from := 0; from < len(ids); {
			to := from + 1
			for to < len(ids) && ids[to]&firstBit == 0 {
				to++
			}
			var text, answer []int32
			for _, id := range ids[from:to] {
				text = append(text, id&idMask)
				if id&learnBit != 0 {
					answer = append(answer, id&idMask)
				}
			}
			seen[tok.Decode(text)] = true
			if want := tok.Decode(text); !strings.HasSuffix(want, "Assistant: "+tok.Decode(answer)) || !strings.HasPrefix(tok.Decode(answer), "answer") {
				t.Errorf("%q learns %q", want, tok.Decode(answer))
			}
			from = to
		}
	}
	if len(seen) != 40 || ts.Train.Docs()+ts.Valid.Docs() != 40 || ts.Valid.Docs() < 3 || ts.Valid.Docs() > 16 {
		t.Errorf("%d different conversations, %d and %d on the sides", len(seen), ts.Train.Docs(), ts.Valid.Docs())
	}
}

// TestChatSplit: what is held out stays so when conversations are added, and
// copies of one are on one side.
func TestChatSplit(t *testing.T) {
	side := func(n int) map[string]bool {
		v, err := ScanChat(t.Context(), Config{Path: talks(t, n), Holdout: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]bool{}
		if err := v.each(t.Context(), func(s *conversation) error { m[s.messages[0].Content] = v.held(s.place()); return nil }); err != nil {
			t.Fatal(err)
		}
		return m
	}
	few, many := side(30), side(60)
	for text, held := range few {
		if many[text] != held {
			t.Errorf("%q changed sides", text)
		}
	}
}

func TestChatErrors(t *testing.T) {
	const good = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n"
	for text, want := range map[string]string{
		good + "\n" + `{"messages":[]}`:                                              `c.jsonl:3: no "messages", or none in it`,
		good + `{"messages":[{"content":"a"}]}`:                                      "c.jsonl:2: messages[0]: no role",
		good + `{"messages":[{"role":"user"}]}`:                                      "c.jsonl:2: messages[0]: no content",
		good + `{"messages":[{"role":"user","content":[{"type":"image"}]}]}`:         "c.jsonl:2: messages[0]: content is not text",
		good + `{"messages":[{"role":"user","content":"a"}]}`:                        "c.jsonl:2: no message of the role assistant",
		good + `{"messages":[{"role":"assistant","content":""}]}`:                    "c.jsonl:2: messages[0]: the answer is empty",
		good + `{"messages":[{"role":"assistant","content":"a","weight":2}]}`:        "c.jsonl:2: messages[0]: weight is 2",
		good + `{"messages":[{"role":"assistant","content":"a","weight":0}]}`:        "c.jsonl:2: no message of the role assistant",
		good + `{"messages":[{"role":"assistant","content":"a","tool_calls":[{}]}]}`: "c.jsonl:2: messages[0]: tool calls",
		good + `{"conversations":[{"from":"human"}]}`:                                `c.jsonl:2: no "messages": rename`,
		good + `{"prompt":"a","completion":"b"}`:                                     `c.jsonl:2: no "messages": make the prompt`,
		good + `{"messages":`:                                                        "c.jsonl:2: unexpected end",
		good + good:                                                                  "not two that differ",
	} {
		path := filepath.Join(t.TempDir(), "c.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ScanChat(t.Context(), Config{Path: path, Holdout: 0.5}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v, want %q", text, err, want)
		}
	}
}

// TestPacking: an epoch has every conversation once, whole and apart from the
// others, and its rows are full.
func TestPacking(t *testing.T) {
	ts := tokenizeChat(t, talks(t, 400), t.TempDir())
	p := Packing{Window: 256, Pad: 256}
	s, err := NewChatSampler(&ts.Train, p, 5, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if f := s.Fit(); f.Whole != ts.Train.Docs() || f.Cut+f.Dropped > 0 {
		t.Fatalf("%+v of %d", f, ts.Train.Docs())
	}
	_, tok := chatFormat(t)
	epoch := func() (texts []string, used, places int) {
		for range s.Windows() {
			b := NewBatch(1, p.Window)
			s.Next(b)
			for from := 0; from < p.Window; {
				to := from + 1
				for to < p.Window && b.Seq[to] == b.Seq[from] {
					to++
				}
				for i := from; i < to; i++ {
					if int(b.Pos[i]) != i-from {
						t.Fatalf("position %d at place %d of a sequence", b.Pos[i], i-from)
					}
				}
				if b.Tokens[from] != p.Pad {
					used += to - from
					texts = append(texts, tok.Decode(b.Tokens[from:to]))
				}
				from = to
			}
			places += p.Window
		}
		slices.Sort(texts)
		return texts, used, places
	}
	first, used, places := epoch()
	if len(slices.Compact(slices.Clone(first))) != ts.Train.Docs() {
		t.Errorf("%d conversations in an epoch, want %d", len(first), ts.Train.Docs())
	}
	if share := float64(used) / float64(places); share < 0.93 {
		t.Errorf("rows are %.0f %% full", 100*share)
	}
	if s, err = NewChatSampler(&ts.Train, p, 5, Position{Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	second, _, _ := epoch()
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("the second epoch differs: %s", d)
	}
}

// TestChatResume: a sampler made at a position goes on as the first does.
func TestChatResume(t *testing.T) {
	ts := tokenizeChat(t, talks(t, 60), t.TempDir())
	p := Packing{Window: 70, Pad: 256}
	a, err := NewChatSampler(&ts.Train, p, 5, Position{})
	if err != nil {
		t.Fatal(err)
	}
	orders := map[string]bool{}
	for range 60 {
		b, err := NewChatSampler(&ts.Train, p, 5, a.Position())
		if err != nil {
			t.Fatal(err)
		}
		x, y := NewBatch(3, p.Window), NewBatch(3, p.Window)
		a.Next(x)
		b.Next(y)
		if d := cmp.Diff(x, y, cmp.AllowUnexported(Batch{})); d != "" {
			t.Fatalf("at %+v: %s", a.Position(), d)
		}
		orders[fmt.Sprint(x.Tokens)] = true
	}
	if len(orders) < 50 {
		t.Errorf("only %d different batches in several epochs", len(orders))
	}
	for _, at := range []Position{{Index: -1}, {Index: 1 << 20}} {
		if _, err := NewChatSampler(&ts.Train, p, 5, at); err == nil {
			t.Errorf("position %+v was accepted", at)
		}
	}
}

// TestLongConversations: cut ones keep their beginning if there is something to
// learn in it.
func TestLongConversations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	var text string
	for _, n := range []int{1, 1, 100, 300} { // of the question
		text += fmt.Sprintf(`{"messages":[{"role":"user","content":"%s%d"},{"role":"assistant","content":"%s"}]}`+"\n", strings.Repeat("q", n), len(text), strings.Repeat("a", 100))
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	f, tok := chatFormat(t)
	v, err := ScanChat(t.Context(), Config{Path: path, Holdout: 1e-9})
	if err != nil {
		t.Fatal(err)
	}
	ts, err := v.Tokenize(t.Context(), f, tok, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ts.Close()
	var sum Fit
	for _, long := range []string{Cut, Drop} {
		for _, s := range []*Stream{&ts.Train, &ts.Valid} {
			k, err := newPacked(s, Packing{Window: 160, Long: long, Pad: 256})
			if err != nil {
				t.Fatal(err)
			}
			sum.Whole, sum.Cut, sum.Dropped = sum.Whole+k.fit.Whole, sum.Cut+k.fit.Cut, sum.Dropped+k.fit.Dropped
		}
	}
	if want := (Fit{Whole: 4, Cut: 1, Dropped: 3}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	if _, err := NewChatSampler(&ts.Train, Packing{Window: 8}, 1, Position{}); err == nil || !strings.Contains(err.Error(), "longer window") {
		t.Errorf("got %v", err)
	}
	if _, err := NewChatSampler(&ts.Train, Packing{Window: 8, Long: "wrap"}, 1, Position{}); err == nil {
		t.Error("an unknown rule was accepted")
	}
}
