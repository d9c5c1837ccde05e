package chat

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trit-ml/trit/models/tokenizer"
)

// specials finds the names of special tokens in text.
type specials struct {
	first [256]bool         // bytes that names begin with
	names map[byte][]string // by the first byte, longer ones first
	ids   map[string]int32
	fold  specialsFolded
}

// specialsFolded finds names whatever the case of letters.
type specialsFolded struct {
	lengths map[rune][]int // of names in runes, by the first rune in lower case
	names   map[string]bool
}

func newSpecials(t *tokenizer.Tokenizer) *specials {
	s := &specials{names: map[byte][]string{}, ids: map[string]int32{}}
	s.fold.lengths, s.fold.names = map[rune][]int{}, map[string]bool{}
	for id := range int32(t.VocabSize()) {
		if t.Kind(id) != tokenizer.Control {
			continue
		}
		name := t.Token(id)
		if utf8.RuneCountInString(name) < 2 {
			continue // a mark could not break it, so it is text
		}
		s.first[name[0]] = true
		s.names[name[0]] = append(s.names[name[0]], name)
		s.ids[name] = id
		folded := foldRunes([]rune(name))
		s.fold.names[string(folded)] = true
		if l := s.fold.lengths[folded[0]]; !slices.Contains(l, len(folded)) {
			s.fold.lengths[folded[0]] = append(l, len(folded))
		}
	}
	for _, names := range s.names {
		slices.SortFunc(names, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	}
	return s
}

// find returns the first special token in text at or after from.
func (s *specials) find(text string, from int) (start, end int, id int32, ok bool) {
	for i := from; i < len(text); i++ {
		if !s.first[text[i]] {
			continue
		}
		for _, name := range s.names[text[i]] {
			if strings.HasPrefix(text[i:], name) {
				return i, i + len(name), s.ids[name], true
			}
		}
	}
	return 0, 0, 0, false
}

func foldRunes(rs []rune) []rune {
	out := make([]rune, len(rs))
	for i, r := range rs {
		out[i] = unicode.ToLower(r)
	}
	return out
}

// breakUp puts the mark behind the first character of everything in text that
// spells a special token, in whatever case: templates may change it.
func (s *specials) breakUp(text string, mark rune) string {
	if len(s.ids) == 0 {
		return text
	}
	rs := []rune(text)
	folded := foldRunes(rs)
	var out []rune // nil while nothing is broken
	for i, r := range rs {
		broken := false
		for _, n := range s.fold.lengths[folded[i]] {
			if i+n <= len(folded) && s.fold.names[string(folded[i:i+n])] {
				broken = true
			}
		}
		if broken && out == nil {
			out = append(make([]rune, 0, len(rs)+8), rs[:i]...)
		}
		if out != nil {
			out = append(out, r)
		}
		if broken {
			out = append(out, mark)
		}
	}
	if out == nil {
		return text
	}
	return string(out)
}

// Marks are noncharacters, which no text for exchange contains.
const firstMark, lastMark = '\uFDD0', '\uFDEF'

var errMarks = errors.New("the messages contain all of U+FDD0 to U+FDEF, which are no characters")

// unusedMarks returns two marks that occur in none of the texts.
func unusedMarks(texts []string) (a, b rune, err error) {
	var free []rune
next:
	for m := firstMark; m <= lastMark; m++ {
		for _, t := range texts {
			if strings.ContainsRune(t, m) {
				continue next
			}
		}
		if free = append(free, m); len(free) == 2 {
			return free[0], free[1], nil
		}
	}
	return 0, 0, errMarks
}
