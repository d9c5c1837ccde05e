package tokenizer

import (
	"strings"
	"unicode"
)

// A small backtracking matcher for the split patterns: the oracle for the
// hand-written splitters. It knows only what those patterns use, and it is slow.

// matchFunc tries to match at rune i and calls next with the end of each way to
// match, best first, until one succeeds.
type matchFunc func(s []rune, i int, next func(int) bool) bool

type regexParser struct {
	src  []rune
	at   int
	fold bool
}

func compileRegex(pattern string) matchFunc {
	p := &regexParser{src: []rune(pattern)}
	m := p.alternation()
	if p.at != len(p.src) {
		panic("regex oracle: unexpected " + string(p.src[p.at:]))
	}
	return m
}

func (p *regexParser) looking(s string) bool {
	if strings.HasPrefix(string(p.src[p.at:]), s) {
		p.at += len([]rune(s))
		return true
	}
	return false
}

func (p *regexParser) alternation() matchFunc {
	options := []matchFunc{p.sequence()}
	for p.looking("|") {
		options = append(options, p.sequence())
	}
	return func(s []rune, i int, next func(int) bool) bool {
		for _, o := range options {
			if o(s, i, next) {
				return true
			}
		}
		return false
	}
}

func (p *regexParser) sequence() matchFunc {
	seq := matchFunc(func(_ []rune, i int, next func(int) bool) bool { return next(i) })
	for p.at < len(p.src) && p.src[p.at] != '|' && p.src[p.at] != ')' {
		first, second := seq, p.quantified()
		seq = func(s []rune, i int, next func(int) bool) bool {
			return first(s, i, func(j int) bool { return second(s, j, next) })
		}
	}
	return seq
}

func (p *regexParser) quantified() matchFunc {
	item := p.item()
	least, most := 1, 1
	switch {
	case p.looking("?"):
		least = 0
	case p.looking("*"):
		least, most = 0, 1<<30
	case p.looking("+"):
		most = 1 << 30
	case p.looking("{1,3}"):
		most = 3
	default:
		return item
	}
	var times func(n int, s []rune, i int, next func(int) bool) bool
	times = func(n int, s []rune, i int, next func(int) bool) bool {
		if n < most && item(s, i, func(j int) bool { return times(n+1, s, j, next) }) {
			return true
		}
		return n >= least && next(i)
	}
	return func(s []rune, i int, next func(int) bool) bool { return times(0, s, i, next) }
}

func (p *regexParser) item() matchFunc {
	group := func(m matchFunc) matchFunc {
		if !p.looking(")") {
			panic("regex oracle: missing )")
		}
		return m
	}
	switch {
	case p.looking("(?i:"):
		p.fold = true
		m := group(p.alternation())
		p.fold = false
		return m
	case p.looking("(?:"):
		return group(p.alternation())
	case p.looking("(?!"):
		m := group(p.alternation())
		return func(s []rune, i int, next func(int) bool) bool {
			return !m(s, i, func(int) bool { return true }) && next(i)
		}
	case p.looking("[^"):
		in := p.set()
		return one(func(r rune) bool { return !in(r) })
	case p.looking("["):
		return one(p.set())
	}
	return one(p.char())
}

func one(in func(rune) bool) matchFunc {
	return func(s []rune, i int, next func(int) bool) bool {
		return i < len(s) && in(s[i]) && next(i+1)
	}
}

func (p *regexParser) set() func(rune) bool {
	var members []func(rune) bool
	for !p.looking("]") {
		members = append(members, p.char())
	}
	return func(r rune) bool {
		for _, in := range members {
			if in(r) {
				return true
			}
		}
		return false
	}
}

// whiteSpace is Unicode's White_Space property, written out.
const whiteSpace = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

func (p *regexParser) char() func(rune) bool {
	isSpace := func(r rune) bool { return strings.ContainsRune(whiteSpace, r) }
	switch {
	case p.looking(`\s`):
		return isSpace
	case p.looking(`\S`):
		return func(r rune) bool { return !isSpace(r) }
	case p.looking(`\r`):
		return func(r rune) bool { return r == '\r' }
	case p.looking(`\n`):
		return func(r rune) bool { return r == '\n' }
	case p.looking(`\p{L}`):
		return unicode.IsLetter
	case p.looking(`\p{N}`):
		return unicode.IsNumber
	}
	c := p.src[p.at]
	if strings.ContainsRune(`\()[]{}*+?.^$`, c) {
		panic("regex oracle: unknown syntax " + string(p.src[p.at:]))
	}
	p.at++
	if !p.fold {
		return func(r rune) bool { return r == c }
	}
	return func(r rune) bool {
		for f := unicode.SimpleFold(c); ; f = unicode.SimpleFold(f) {
			if f == r {
				return true
			}
			if f == c {
				return false
			}
		}
	}
}

// regexWords cuts text into the successive matches. Bytes that are not UTF-8
// count as U+FFFD, one each, which is how Go ranges over strings.
func regexWords(m matchFunc, text string) []string {
	runes := []rune{}
	starts := []int{}
	for i, r := range text {
		runes = append(runes, r)
		starts = append(starts, i)
	}
	starts = append(starts, len(text))
	var words []string
	for i := 0; i < len(runes); {
		end := -1
		m(runes, i, func(j int) bool { end = j; return j > i })
		if end <= i {
			panic("regex oracle: no match")
		}
		words = append(words, text[starts[i]:starts[end]])
		i = end
	}
	return words
}
