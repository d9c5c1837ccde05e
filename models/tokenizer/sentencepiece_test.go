package tokenizer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spmVocab returns a small vocabulary in the layout of SentencePiece files:
// <unk>, <s>, </s>, 256 bytes, then scored pieces.
func spmVocab(pieces []string, scores []float32) Vocab {
	v := Vocab{
		Model:  "llama",
		Tokens: []string{"<unk>", "<s>", "</s>"},
		Types:  []Kind{Unknown, Control, Control},
		Scores: []float32{0, 0, 0},
		BOS:    1, EOS: 2, UNK: 0,
	}
	for b := range 256 {
		v.Tokens = append(v.Tokens, fmt.Sprintf("<0x%02X>", b))
		v.Types = append(v.Types, Byte)
		v.Scores = append(v.Scores, 0)
	}
	for i, p := range pieces {
		v.Tokens = append(v.Tokens, p)
		v.Types = append(v.Types, Normal)
		v.Scores = append(v.Scores, scores[i])
	}
	return v
}

// naivePieces merges strings by the best score of the joined text, leftmost.
func naivePieces(v Vocab, text string) []int32 {
	id := map[string]int32{}
	for i, s := range v.Tokens {
		if v.Types[i] == Normal {
			id[s] = int32(i)
		}
	}
	text = strings.ReplaceAll(" "+text, " ", "▁")
	var parts []string
	for i, r := range text {
		n := len(string(r))
		if r == '\ufffd' && !strings.HasPrefix(text[i:], "\ufffd") {
			n = 1
		}
		parts = append(parts, text[i:i+n])
	}
	for {
		best, at := float32(math.Inf(-1)), -1
		for i := range len(parts) - 1 {
			if t, ok := id[parts[i]+parts[i+1]]; ok && v.Scores[t] > best {
				best, at = v.Scores[t], i
			}
		}
		if at < 0 {
			break
		}
		parts[at] += parts[at+1]
		parts = slices.Delete(parts, at+1, at+2)
	}
	var ids []int32
	for _, p := range parts {
		if t, ok := id[p]; ok {
			ids = append(ids, t)
			continue
		}
		for i := range len(p) {
			ids = append(ids, 3+int32(p[i]))
		}
	}
	return ids
}

func TestSentencePieceEqualsNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	letters := []string{"a", "b", "c", "▁", "é", "日", "<", "s", ">", "\ufffd"}
	for range 200 {
		seen := map[string]bool{}
		var pieces []string
		var scores []float32
		for range 5 + rng.IntN(40) {
			var p strings.Builder
			for range 1 + rng.IntN(4) {
				p.WriteString(letters[rng.IntN(len(letters))])
			}
			if s := p.String(); !seen[s] && s != "<s>" {
				seen[s] = true
				pieces = append(pieces, s)
				scores = append(scores, -float32(rng.IntN(12)))
			}
		}
		v := spmVocab(pieces, scores)
		tok, err := New("random", v)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			var b strings.Builder
			for range 1 + rng.IntN(30) {
				switch rng.IntN(12) {
				case 0:
					b.WriteString(randomText(rng))
				case 1:
					b.WriteByte(' ')
				default:
					b.WriteString(letters[rng.IntN(len(letters))])
				}
			}
			text := strings.ReplaceAll(b.String(), "▁", " ")
			got, want := tok.Encode(nil, text), naivePieces(v, text)
			if !slices.Equal(got, want) {
				t.Fatalf("%q with %q:\n got %v\nwant %v", text, pieces, got, want)
			}
			if !seen["▁"] {
				continue // a blank becomes three bytes, which is not reversible
			}
			if back := tok.Decode(got); back != text {
				t.Fatalf("%q decodes to %q", text, back)
			}
			if back := tok.Decode(append([]int32{1}, got...)); back != "<s>"+text {
				t.Fatalf("<s>%q decodes to %q", text, back)
			}
		}
	}
}

func TestSentencePieceSpecials(t *testing.T) {
	v := spmVocab([]string{"▁", "a", "<s", ">", "▁a"}, []float32{-1, -1, -1, -1, -2})
	tok, err := New("test", v)
	if err != nil {
		t.Fatal(err)
	}
	a := int32(259 + 4) // ▁a
	for _, c := range []struct {
		text string
		opt  Option
		want []int32
	}{
		{"a", 0, []int32{a}},
		{"a", tok.Defaults(), []int32{1, a}},
		{"a", BOS | EOS, []int32{1, a, 2}},
		{"", BOS, []int32{1}},
		{"a<s>a", Specials, []int32{a, 1, a}},
		// "<s" is a token, its letters are not; "<s>" is never made from text.
		{"<s>", 0, []int32{259, 261, 262}},
	} {
		if got := tok.Encode(nil, c.text, c.opt); !slices.Equal(got, c.want) {
			t.Errorf("%q with %d: got %v, want %v", c.text, c.opt, got, c.want)
		}
	}
	if tok.Token(3+'\n') != "\n" || tok.Token(a) != " a" {
		t.Errorf("Token gives %q and %q", tok.Token(3+'\n'), tok.Token(a))
	}
	back, err := tok.Vocab()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, back); d != "" {
		t.Errorf("Vocab: %s", d)
	}
}

func TestSentencePieceUnknown(t *testing.T) {
	v := Vocab{
		Model: "llama", Tokens: []string{"<unk>", "▁", "a"}, Types: []Kind{Unknown, Normal, Normal},
		Scores: []float32{0, -1, -1}, BOS: None, EOS: None, UNK: 0,
	}
	no := false
	v.AddSpacePrefix = &no
	tok, err := New("no bytes", v)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(nil, "a é日\xffa"), []int32{2, 1, 0, 0, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
