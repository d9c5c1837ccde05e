package jinja

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Python's functions on text.

// splitPath cuts a path at the dots; parts of digits are integers.
func splitPath(p string) []any {
	var parts []any
	for part := range strings.SplitSeq(p, ".") {
		if n, err := strconv.Atoi(part); err == nil && n >= 0 {
			parts = append(parts, n)
		} else {
			parts = append(parts, part)
		}
	}
	return parts
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToTitle(s[:n]) + strings.ToLower(s[n:])
}

// titleMethod is str.title: a letter behind a letter is small.
func titleMethod(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		before := inside
		inside = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
		if before {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

// titleFilter is Jinja's filter: words begin behind blanks, hyphens and brackets.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		before := start
		start = isSpace(r) || strings.ContainsRune("-({[<", r)
		switch {
		case start:
			return r
		case before:
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

// cased reports whether s has letters of one case and none of the other, as
// str.islower (lower) and str.isupper do.
func cased(s string, lower bool) bool {
	found := false
	for _, r := range s {
		switch {
		case unicode.IsLower(r) && lower, unicode.IsUpper(r) && !lower:
			found = true
		case unicode.IsLower(r), unicode.IsUpper(r), unicode.IsTitle(r):
			return false
		}
	}
	return found
}

// all reports whether s is not empty and every character satisfies is.
func all(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}

func isLineEnd(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

func splitLines(s string, keepEnds bool) []string {
	var lines []string
	for s != "" {
		i := strings.IndexFunc(s, isLineEnd)
		if i < 0 {
			return append(lines, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		end := i
		if keepEnds {
			end += n
		}
		lines = append(lines, s[:end])
		s = s[i+n:]
	}
	return lines
}

// splitBlanks is str.split and str.rsplit without a separator; most < 0 means all.
func splitBlanks(s string, most int, fromRight bool) []string {
	var words []string
	if fromRight {
		for s = strings.TrimRightFunc(s, isSpace); s != "" && most != 0; most-- {
			i := strings.LastIndexFunc(s, isSpace)
			start := 0
			if i >= 0 {
				_, n := utf8.DecodeRuneInString(s[i:])
				start = i + n
			}
			words = append(words, s[start:])
			s = strings.TrimRightFunc(s[:start], isSpace)
		}
		if s != "" {
			words = append(words, s)
		}
		slices.Reverse(words)
		return words
	}
	for s = strings.TrimLeftFunc(s, isSpace); s != "" && most != 0; most-- {
		i := strings.IndexFunc(s, isSpace)
		if i < 0 {
			i = len(s)
		}
		words = append(words, s[:i])
		s = strings.TrimLeftFunc(s[i:], isSpace)
	}
	if s != "" {
		words = append(words, s)
	}
	return words
}

// splitAt is str.split and str.rsplit at a separator.
func splitAt(s, sep string, most int, fromRight bool) []string {
	if !fromRight {
		if most >= 0 {
			most++
		}
		return strings.SplitN(s, sep, most)
	}
	var parts []string
	for ; most != 0; most-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

// indent is Jinja's filter.
func indent(s, pad string, first, blank bool) string {
	lines := splitLines(s+"\n", false)
	for i := range lines {
		if i > 0 && (blank || lines[i] != "") {
			lines[i] = pad + lines[i]
		}
	}
	s = strings.Join(lines, "\n")
	if first {
		s = pad + s
	}
	return s
}
