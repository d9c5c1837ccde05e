package tokenizer

import (
	"fmt"
	"strings"
)

// Split is the rule that cuts text into words before merging. Merges never
// cross the border of a word.
type Split uint8

const (
	// SplitNone takes the whole text as one word.
	SplitNone Split = iota
	// SplitGPT2 is GPT-2's rule.
	SplitGPT2
	// SplitLlama3 is Llama 3's rule.
	SplitLlama3
)

// The rules as their authors write them. Go's regexp has no lookahead, and
// these are the hottest loops of encoding, so they are written out by hand
// below; a file's pattern must equal one of these strings.
const (
	patternGPT2    = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternGPT2Alt = `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func (s Split) String() string {
	switch s {
	case SplitNone:
		return "none"
	case SplitGPT2:
		return "gpt-2"
	case SplitLlama3:
		return "llama-3"
	}
	return fmt.Sprintf("Split(%d)", uint8(s))
}

// Pattern returns the rule as a regular expression (with lookahead, so not one
// of Go's), or "" for SplitNone.
func (s Split) Pattern() string {
	switch s {
	case SplitGPT2:
		return patternGPT2
	case SplitLlama3:
		return patternLlama3
	}
	return ""
}

func splitFromPattern(pattern string) (Split, bool) {
	switch pattern {
	case patternGPT2, patternGPT2Alt:
		return SplitGPT2, true
	case patternLlama3:
		return SplitLlama3, true
	}
	return 0, false
}

// Words returns the words of text in order; joined they are text. It is for
// looking at a rule, Encode does not call it.
func (s Split) Words(text string) []string {
	var words []string
	table := unicodeClasses()
	for i := 0; i < len(text); {
		j := s.next(table, text, i)
		words = append(words, text[i:j])
		i = j
	}
	return words
}

// next returns the end of the word that starts at i < len(s). A whole text
// costs time linear in its length: every branch looks at its word and at most
// one code point more, except a run of white space, which is read twice.
func (s Split) next(t *classTable, text string, i int) int {
	switch s {
	case SplitLlama3:
		return t.nextLlama3(text, i)
	case SplitGPT2:
		return t.nextGPT2(text, i)
	}
	return len(text)
}

func (t *classTable) nextLlama3(s string, i int) int {
	k, n := t.at(s, i)
	j := i + n
	switch k {
	case letter: // \p{L}+
		return t.run(s, j, letter)
	case number: // \p{N}{1,3}
		for range 2 {
			if j == len(s) {
				break
			}
			k, n := t.at(s, j)
			if k != number {
				break
			}
			j += n
		}
		return j
	case newline:
		return t.white(s, i, true)
	}
	if s[i] == '\'' {
		if n := contraction(s[i:], true); n > 0 {
			return i + n
		}
	}
	if j < len(s) {
		next, m := t.at(s, j)
		switch {
		case next == letter: // [^\r\n\p{L}\p{N}]?\p{L}+
			return t.run(s, j+m, letter)
		case k == space && (s[i] != ' ' || next != other):
			return t.white(s, i, true)
		case k == other && next != other && next != newline:
			return j
		}
	} else if k == space {
		return j
	}
	// ` ?[^\s\p{L}\p{N}]+[\r\n]*`
	j = t.run(s, j, other)
	for j < len(s) && (s[j] == '\n' || s[j] == '\r') {
		j++
	}
	return j
}

func (t *classTable) nextGPT2(s string, i int) int {
	k, n := t.at(s, i)
	j := i + n
	switch k {
	case letter, number:
		return t.run(s, j, k)
	case other:
		if s[i] == '\'' {
			if n := contraction(s[i:], false); n > 0 {
				return i + n
			}
		}
		return t.run(s, j, other)
	}
	if s[i] == ' ' && j < len(s) { // ` ?\p{L}+` and its two sisters
		if next, m := t.at(s, j); next < space {
			return t.run(s, j+m, next)
		}
	}
	return t.white(s, i, false)
}

// white returns the end of a word that starts with white space at i:
// `\s*[\r\n]+` if lines is set, then `\s+(?!\S)`, then `\s+`.
func (t *classTable) white(s string, i int, lines bool) int {
	last := i     // start of the run's last code point
	lineEnd := -1 // end of the run's last newline
	j := i
	for j < len(s) {
		k, n := t.at(s, j)
		if k < space {
			break
		}
		last, j = j, j+n
		if k == newline {
			lineEnd = j
		}
	}
	switch {
	case lines && lineEnd > 0:
		return lineEnd
	case j < len(s) && last > i:
		return last // the last blank belongs to what follows
	}
	return j
}

// contraction returns the length of the 's, 't, 're, 've, 'm, 'll or 'd that s
// starts with (s[0] is the apostrophe), or 0. Folding case takes in U+017F, the
// long s, which is the only non-ASCII character that folds to one of these letters.
func contraction(s string, fold bool) int {
	if len(s) < 2 {
		return 0
	}
	a := s[1]
	if fold {
		if strings.HasPrefix(s[1:], "ſ") {
			return 1 + len("ſ")
		}
		a |= 0x20
	}
	switch a {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) < 3 {
		return 0
	}
	b := s[2]
	if fold {
		b |= 0x20
	}
	if a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l' {
		return 3
	}
	return 0
}
