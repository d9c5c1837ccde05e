package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// smallTokenizer is a byte-level BPE with a few merges and both kinds of added
// tokens, small enough for fuzz corpora.
func smallTokenizer(t testing.TB) *Tokenizer {
	t.Helper()
	trainer, err := NewTrainer(TrainOptions{VocabSize: 300, Split: SplitLlama3, MinCount: 1, AddBOS: true,
		Specials: []string{"<|begin_of_text|>", "<|end_of_text|>", "<|eot|>", "<|eot|>!", "é🦙"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Feed(strings.NewReader("the cat and the hat, the é and the 日本 <|eot|> <|eot|>")); err != nil {
		t.Fatal(err)
	}
	tok, err := trainer.Train()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestBytes(t *testing.T) {
	tok, err := NewBytes("<|end_of_text|>")
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 257 || tok.EOS() != 256 || tok.BOS() != None {
		t.Errorf("size %d, eos %d, bos %d", tok.VocabSize(), tok.EOS(), tok.BOS())
	}
	text := "a\x00\xffé<|end_of_text|>"
	var want []int32
	for i := range len(text) {
		want = append(want, int32(text[i]))
	}
	got := tok.Encode(nil, text)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if tok.Decode(got) != text {
		t.Errorf("decodes to %q", tok.Decode(got))
	}
	got = tok.Encode(nil, text, Specials, BOS, EOS)
	want = append(want[:len(want)-len("<|end_of_text|>")], 256, 256)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("with specials: %s", d)
	}
}

func TestOptions(t *testing.T) {
	tok := smallTokenizer(t)
	bos, eos := tok.BOS(), tok.EOS()
	eot, eotMark, odd := tok.Special("<|eot|>"), tok.Special("<|eot|>!"), tok.Special("é🦙")
	a := int32('a')
	plain := tok.Encode(nil, "<|eot|>")
	if slices.Contains(plain, eot) || tok.Decode(plain) != "<|eot|>" {
		t.Errorf("a special in plain text gives %v", plain)
	}
	for _, c := range []struct {
		text string
		opt  []Option
		want []int32
	}{
		{"a", nil, []int32{a}},
		{"a", []Option{BOS}, []int32{bos, a}},
		{"a", []Option{BOS, EOS}, []int32{bos, a, eos}},
		{"a", []Option{tok.Defaults()}, []int32{bos, a}},
		{"", []Option{BOS | EOS}, []int32{bos, eos}},
		{"a<|eot|>a", []Option{Specials}, []int32{a, eot, a}},
		{"<|eot|><|eot|>", []Option{Specials}, []int32{eot, eot}},
		{"<|eot|>!a", []Option{Specials}, []int32{eotMark, a}}, // the longest wins
		{"aé🦙a", []Option{Specials}, []int32{a, odd, a}},
		{"<|begin_of_text|>a", []Option{Specials}, []int32{bos, a}},
	} {
		if got := tok.Encode([]int32{-5}, c.text, c.opt...); !slices.Equal(got[1:], c.want) || got[0] != -5 {
			t.Errorf("%q with %v: got %v, want %v", c.text, c.opt, got[1:], c.want)
		}
	}
	// Unfinished specials are text.
	for _, text := range []string{"<", "<|", "<|eot|", "<|<|eot|", "é🦙"[:4], "<|eot<|eot|x"} {
		got := tok.Encode(nil, text, Specials)
		if !slices.Equal(got, tok.Encode(nil, text)) || tok.Decode(got) != text {
			t.Errorf("%q gives %v", text, got)
		}
	}
	for _, id := range []int32{-1, None, 300, 1 << 30} {
		if tok.Token(id) != "" || tok.Kind(id) != Unused || tok.Decode([]int32{id}) != "\ufffd" {
			t.Errorf("id %d: %q, kind %d, decodes to %q", id, tok.Token(id), tok.Kind(id), tok.Decode([]int32{id}))
		}
	}
	if id, ok := tok.ID("the"); !ok || tok.Token(id) != "the" {
		t.Errorf("ID(the) = %d, %v", id, ok)
	}
	if _, ok := tok.ID("no such token"); ok {
		t.Error("ID finds what is not there")
	}
}

// Matching added tokens against the plain definition: at the first place where
// any begins, the longest that begins there.
func TestMatcherEqualsNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	word := func(n int) string {
		b := make([]byte, 1+rng.IntN(n))
		for i := range b {
			b[i] = "ab<"[rng.IntN(3)]
		}
		return string(b)
	}
	for range 4000 {
		tokens := map[string]int32{}
		for i := range 1 + rng.IntN(6) {
			tokens[word(5)] = int32(i)
		}
		m := newMatcher(tokens)
		text := word(20)
		for i := range len(text) {
			wantStart, wantText := -1, ""
			for at := i; at < len(text) && wantStart < 0; at++ {
				for s := range tokens {
					if strings.HasPrefix(text[at:], s) && len(s) > len(wantText) {
						wantStart, wantText = at, s
					}
				}
			}
			start, end, id, ok := m.find(text, i)
			if ok != (wantStart >= 0) || ok && (start != wantStart || text[start:end] != wantText || id != tokens[wantText]) {
				t.Fatalf("%v in %q from %d: got [%d:%d] %v, want %q at %d", tokens, text, i, start, end, ok, wantText, wantStart)
			}
		}
	}
}

func TestStream(t *testing.T) {
	bytesOnly, err := NewBytes("<|end_of_text|>")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(21, 22))
	for _, tok := range []*Tokenizer{bytesOnly, smallTokenizer(t)} {
		for range 4000 {
			text := randomText(rng)
			s := tok.Stream()
			var got strings.Builder
			for _, id := range tok.Encode(nil, text) {
				piece := s.Push(id)
				if !utf8.ValidString(piece) {
					t.Fatalf("%q: Push returns %q", text, piece)
				}
				got.WriteString(piece)
				// What waits is the beginning of a code point, never more.
				if n := len(s.pending); n > 3 || n > 0 && utf8.FullRune(s.pending) {
					t.Fatalf("%q: %q is held back", text, s.pending)
				}
			}
			got.WriteString(s.Flush())
			if want := string([]rune(text)); got.String() != want {
				t.Fatalf("%q streams as %q, want %q", text, got.String(), want)
			}
			if s.Flush() != "" {
				t.Fatal("Flush leaves something")
			}
		}
	}
}

func TestStreamByByte(t *testing.T) {
	tok, err := NewBytes("<|end_of_text|>")
	if err != nil {
		t.Fatal(err)
	}
	s := tok.Stream()
	var got []string
	for _, b := range []byte("aé日🦙\xe6\x97b\xff") {
		got = append(got, s.Push(int32(b)))
	}
	got = append(got, s.Push(0xf0), s.Push(256), s.Flush())
	s.ShowSpecials = true
	got = append(got, s.Push(256))
	want := []string{"a", "", "é", "", "", "日", "", "", "", "🦙", "", "", "\ufffd\ufffdb", "\ufffd", "", "", "\ufffd", "<|end_of_text|>"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := smallTokenizer(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(23, uint64(g)))
			for range 300 {
				text := randomText(rng)
				if got := tok.Decode(tok.Encode(nil, text, Specials)); got != text {
					t.Errorf("%q comes back as %q", text, got)
				}
			}
		}()
	}
	wg.Wait()
	if n := len(tok.free.idle); n == 0 || n > 8 {
		t.Errorf("%d encoders are kept", n)
	}
}

func TestEncodeAllocatesNothing(t *testing.T) {
	tok := smallTokenizer(t)
	text := strings.Repeat("the cat and the hat, 日本 \U0001f999 <|eot|> naïve 12345\n", 20) + strings.Repeat("x", 200)
	ids := tok.Encode(nil, text, Specials)
	if n := testing.AllocsPerRun(20, func() { ids = tok.Encode(ids[:0], text, Specials) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Texts on which a careless implementation is quadratic. With n² steps this
// test would take minutes to hours.
func TestHostileTexts(t *testing.T) {
	tok := llama3(t)
	const n = 1 << 18
	for name, text := range map[string]string{
		"letters":   strings.Repeat("a", 4*n),
		"blanks":    strings.Repeat(" ", n) + "x",
		"lines":     strings.Repeat("\n", n/2) + strings.Repeat(" ", n/2) + "x",
		"lines2":    strings.Repeat("\n ", n/2) + "x",
		"digits":    strings.Repeat("7", n),
		"quotes":    strings.Repeat("'", n),
		"openers":   strings.Repeat("<", n),
		"prefixes":  strings.Repeat("<|eot_id|", n/9),
		"bad utf-8": strings.Repeat("\xe6", n),
	} {
		if got := tok.Decode(tok.Encode(nil, text, Specials)); got != text {
			t.Errorf("%s do not round-trip", name)
		}
	}
	if cap(tok.free.idle[0].heap) > 1<<20 {
		t.Error("the memory of a huge word is kept")
	}
}
