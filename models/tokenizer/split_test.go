package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestClassesEqualUnicode(t *testing.T) {
	table := unicodeClasses()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := other
		switch {
		case r == '\r' || r == '\n':
			want = newline
		case strings.ContainsRune(whiteSpace, r) && r != unicode.ReplacementChar:
			want = space
		case unicode.IsLetter(r):
			want = letter
		case unicode.IsNumber(r):
			want = number
		}
		if got := table.of(r); got != want {
			t.Fatalf("class of %U is %d, want %d", r, got, want)
		}
	}
	if len(table.pages) > 256 {
		t.Errorf("%d different pages do not fit into a byte", len(table.pages))
	}
}

// fragments are what random texts are made of: everything that a split rule
// tells apart, and neighbours of it.
var fragments = []string{
	" ", " ", "  ", "   ", "\n", "\n\n", "\r", "\r\n", "\t", "\v", "\f", "\u0085", "\u00a0", "\u2003", "\u2028", "\u3000",
	"\u200b", "\u180e", "\ufeff", "\x1c", "\x00",
	"'", "''", "'s", "'S", "'ſ", "ſ", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'Ve", "'m", "'M", "'ll", "'lL", "'d", "'D", "'r", "'v", "'l", "'le", "'K", "’s", "\x13", "'\x13",
	"a", "b", "the", "Z", "é", "e\u0301", "\u0301", "日", "本語", "ʰ", "ǅ", "א", "हिन्दी", "İ", "ß", "K", "𝒳",
	"1", "12", "123", "1234", "٣", "½", "Ⅷ", "²", "𝟘", "〇", "፼",
	"!", "?", ".", ",", "-", "_", "(", "$", "+", "~", "🦙", "👩‍👧", "€", "\u200d", "\ue000", "\U0010ffff",
	"\xff", "\xc3", "\xe6\x97", "\x80", "\xf0\x9f\xa6", "\xed\xa0\x80",
}

func randomText(rng *rand.Rand) string {
	var b strings.Builder
	for range 1 + rng.IntN(24) {
		if rng.IntN(16) == 0 {
			r := rune(rng.IntN(unicode.MaxRune + 1))
			if rng.IntN(2) == 0 {
				r &= 0x2fff
			}
			b.WriteRune(r)
			continue
		}
		b.WriteString(fragments[rng.IntN(len(fragments))])
	}
	return b.String()
}

func TestSplitEqualsRegex(t *testing.T) {
	n := 120_000
	if testing.Short() {
		n = 10_000
	}
	for _, split := range []Split{SplitLlama3, SplitGPT2} {
		t.Run(split.String(), func(t *testing.T) {
			t.Parallel()
			m := compileRegex(split.Pattern())
			rng := rand.New(rand.NewPCG(1, uint64(split)))
			for range n {
				text := randomText(rng)
				got, want := split.Words(text), regexWords(m, text)
				if !slices.Equal(got, want) {
					t.Fatalf("%q:\n got %q\nwant %q", text, got, want)
				}
			}
		})
	}
}

// All texts of up to five characters over one representative of each class.
func TestSplitEqualsRegexExhaustively(t *testing.T) {
	alphabet := []string{" ", "\n", "\t", "a", "1", "!", "'", "s"}
	for _, split := range []Split{SplitLlama3, SplitGPT2} {
		m := compileRegex(split.Pattern())
		var try func(prefix string, left int)
		try = func(prefix string, left int) {
			if got, want := split.Words(prefix), regexWords(m, prefix); !slices.Equal(got, want) {
				t.Fatalf("%v %q:\n got %q\nwant %q", split, prefix, got, want)
			}
			for _, c := range alphabet {
				if left > 0 {
					try(prefix+c, left-1)
				}
			}
		}
		try("", 5)
	}
}

func TestPatternSpellings(t *testing.T) {
	a, b := compileRegex(patternGPT2), compileRegex(patternGPT2Alt)
	rng := rand.New(rand.NewPCG(2, 3))
	for range 5000 {
		text := randomText(rng)
		if d := cmp.Diff(regexWords(a, text), regexWords(b, text)); d != "" {
			t.Fatalf("%q: %s", text, d)
		}
	}
	for _, s := range []Split{SplitGPT2, SplitLlama3} {
		if got, ok := splitFromPattern(s.Pattern()); !ok || got != s {
			t.Errorf("splitFromPattern(%v.Pattern()) = %v, %v", s, got, ok)
		}
	}
}
