package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is what the split rules distinguish about a code point.
type class uint8

const (
	other   class = iota // none of the below: [^\s\p{L}\p{N}]
	letter               // \p{L}
	number               // \p{N}
	space                // \s without newline
	newline              // [\r\n]
)

// classTable holds the class of every code point in pages of 256, equal pages
// shared. Bytes that are not UTF-8 read as U+FFFD, which is other.
type classTable struct {
	ascii [256]class // only the first 128 are used; 256 spares a bounds check
	page  [(unicode.MaxRune + 1) >> 8]uint8
	pages [][256]class
}

// unicodeClasses is built once: about 0.3 ms and 70 kB.
var unicodeClasses = sync.OnceValue(func() *classTable {
	flat := make([]class, unicode.MaxRune+1)
	mark := func(t *unicode.RangeTable, k class) {
		for _, r := range t.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				flat[c] = k
			}
		}
		for _, r := range t.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				flat[c] = k
			}
		}
	}
	mark(unicode.L, letter)
	mark(unicode.N, number)
	mark(unicode.White_Space, space)
	flat['\r'], flat['\n'] = newline, newline

	t := new(classTable)
	copy(t.ascii[:], flat[:utf8.RuneSelf])
	index := map[[256]class]uint8{}
	for p := range t.page {
		page := [256]class(flat[p<<8:])
		at, ok := index[page]
		if !ok {
			at = uint8(len(t.pages)) // 123 different pages in Unicode 15
			index[page] = at
			t.pages = append(t.pages, page)
		}
		t.page[p] = at
	}
	return t
})

func (t *classTable) of(r rune) class { return t.pages[t.page[r>>8]][r&0xff] }

// at returns the class and the length of the code point at s[i].
func (t *classTable) at(s string, i int) (class, int) {
	if b := s[i]; b < utf8.RuneSelf {
		return t.ascii[b], 1
	}
	return t.wide(s, i)
}

func (t *classTable) wide(s string, i int) (class, int) {
	r, n := utf8.DecodeRuneInString(s[i:])
	return t.of(r), n
}

// run returns the end of the run of class k that goes on at i.
func (t *classTable) run(s string, i int, k class) int {
	for i < len(s) {
		if b := s[i]; b < utf8.RuneSelf {
			if t.ascii[b] != k {
				return i
			}
			i++
			continue
		}
		c, n := t.wide(s, i)
		if c != k {
			return i
		}
		i += n
	}
	return i
}
