package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	eof        kind = iota
	text            // outside of tags
	varBegin        // {{
	varEnd          // }}
	blockBegin      // {%
	blockEnd        // %}
	name
	str // val is the value, not the literal
	integer
	float
	op // val is the operator
)

type token struct {
	kind kind
	val  string
	line int
}

func (t token) String() string {
	switch t.kind {
	case eof:
		return "the end of the template"
	case text:
		return "text"
	case str:
		return fmt.Sprintf("%.40q", t.val)
	}
	return "'" + t.val + "'"
}

// lexer cuts a template into tokens. White space around tags is gone then.
type lexer struct {
	src    string
	pos    int
	line   int
	tokens []token
	// lineStart: the last thing read ended a line, so that a tag that follows
	// begins one.
	lineStart bool
}

func lex(src string) (tokens []token, err error) {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.next(); err != nil {
			return nil, &Error{l.line, err}
		}
	}
	l.emit(eof, "")
	return l.tokens, nil
}

func (l *lexer) emit(k kind, val string) {
	l.tokens = append(l.tokens, token{k, val, l.line})
}

// skip moves over n bytes.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

// next reads the text up to the next tag, and the tag.
func (l *lexer) next() error {
	n, open := nextTag(l.src[l.pos:])
	if open == "" {
		l.emit(text, l.src[l.pos:])
		l.skip(len(l.src) - l.pos)
		return nil
	}
	l.emitText(l.src[l.pos:l.pos+n], open, l.sign(l.pos+n+2))
	l.skip(n)
	l.lineStart = false
	switch open {
	case "{#":
		end := strings.Index(l.src[l.pos+2:], "#}")
		if end < 0 {
			return fmt.Errorf("a comment {# without end #}")
		}
		sign := l.src[l.pos+2+end-1]
		if end == 0 {
			sign = 0
		}
		l.skip(2 + end + 2)
		l.afterTag(sign, true)
		return nil
	case "{{":
		return l.tag(varBegin, varEnd, "}}")
	}
	if n := rawTag(l.src[l.pos:], "raw"); n > 0 {
		return l.raw(n)
	}
	return l.tag(blockBegin, blockEnd, "%}")
}

// nextTag finds the first of {{ {% {#.
func nextTag(s string) (at int, open string) {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], '{')
		if i += j; j < 0 || i+1 >= len(s) {
			return 0, ""
		}
		switch s[i+1] {
		case '{', '%', '#':
			return i, s[i : i+2]
		}
	}
}

// sign returns the - or + at a place, or 0.
func (l *lexer) sign(at int) byte {
	if at < len(l.src) && (l.src[at] == '-' || l.src[at] == '+') {
		return l.src[at]
	}
	return 0
}

// emitText emits the text in front of a tag, stripped as the tag asks:
// "-" strips all white space, and without a sign a block that is the first
// thing on its line strips the line's indentation (lstrip_blocks).
func (l *lexer) emitText(s, open string, sign byte) {
	if sign == '-' {
		s = strings.TrimRightFunc(s, isSpace)
	} else if sign != '+' && open != "{{" {
		i := strings.LastIndexByte(s, '\n') + 1
		if (i > 0 || l.lineStart) && strings.TrimFunc(s[i:], isSpace) == "" {
			s = s[:i]
		}
	}
	if s != "" {
		l.emit(text, s)
	}
}

// afterTag strips the text behind a tag: "-" strips all white space, and
// without a sign one line break follows a block into nothing (trim_blocks).
func (l *lexer) afterTag(sign byte, block bool) {
	rest := l.src[l.pos:]
	n := 0
	switch {
	case sign == '-':
		n = len(rest) - len(strings.TrimLeftFunc(rest, isSpace))
	case sign != '+' && block && strings.HasPrefix(rest, "\n"):
		n = 1
	}
	l.skip(n)
	l.lineStart = n > 0 && rest[n-1] == '\n'
}

// rawTag returns the length of {% word %} at the start of s, 0 if it is not.
func rawTag(s, word string) int {
	rest := strings.TrimPrefix(s, "{%")
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	rest, ok := strings.CutPrefix(strings.TrimLeftFunc(rest, isSpace), word)
	if !ok {
		return 0
	}
	rest = strings.TrimLeftFunc(rest, isSpace)
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	rest, ok = strings.CutPrefix(rest, "%}")
	if !ok {
		return 0
	}
	return len(s) - len(rest)
}

// raw reads {% raw %}, n bytes long, up to and including {% endraw %}.
func (l *lexer) raw(n int) error {
	sign := l.src[l.pos+n-3]
	l.skip(n)
	l.afterTag(sign, false)
	for i := 0; ; i += 2 {
		j := strings.Index(l.src[l.pos+i:], "{%")
		if j < 0 {
			return fmt.Errorf("{%% raw %%} without {%% endraw %%}")
		}
		i += j
		if n := rawTag(l.src[l.pos+i:], "endraw"); n > 0 {
			l.emitText(l.src[l.pos:l.pos+i], "{%", l.sign(l.pos+i+2))
			l.skip(i + n)
			l.afterTag(l.src[l.pos-3], true)
			return nil
		}
	}
}

// tag reads a tag with its delimiters.
func (l *lexer) tag(begin, end kind, closing string) error {
	l.emit(begin, l.src[l.pos:l.pos+2])
	l.skip(2)
	if l.sign(l.pos) != 0 {
		l.skip(1)
	}
	depth := 0
	for {
		rest := l.src[l.pos:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case rest == "":
			return fmt.Errorf("a tag without end %s", closing)
		case isSpace(r):
			l.skip(size)
			continue
		}
		if depth == 0 {
			sign := l.sign(l.pos)
			n := 0
			if sign != 0 {
				n = 1
			}
			if strings.HasPrefix(rest[n:], closing) && !(sign == '+' && end == varEnd) {
				l.emit(end, closing)
				l.skip(n + 2)
				l.afterTag(sign, end == blockEnd)
				return nil
			}
		}
		change, err := l.inTag(rest, r)
		if err != nil {
			return err
		}
		if depth += change; depth < 0 {
			return fmt.Errorf("a closing bracket without an opening one")
		}
	}
}

// operators, the longer ones first.
var operators = []string{
	"**", "//", "==", "!=", ">=", "<=",
	"+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",",
}

// inTag reads one token inside a tag and returns the change of bracket depth.
func (l *lexer) inTag(rest string, r rune) (depth int, err error) {
	switch {
	case r == '_' || unicode.IsLetter(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
		l.emit(name, rest[:n])
		l.skip(n)
		return 0, nil
	case '0' <= r && r <= '9':
		return 0, l.number(rest)
	case r == '"' || r == '\'':
		return 0, l.str(rest)
	}
	for _, o := range operators {
		if strings.HasPrefix(rest, o) {
			l.emit(op, o)
			l.skip(len(o))
			switch o {
			case "(", "[", "{":
				return 1, nil
			case ")", "]", "}":
				return -1, nil
			}
			return 0, nil
		}
	}
	return 0, fmt.Errorf("unexpected character %q", r)
}

func (l *lexer) number(rest string) error {
	digits := func(i int) int {
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '_' && i > 0) {
			i++
		}
		return i
	}
	k, n := integer, digits(0)
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		k, n = float, digits(n+1)
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		i := n + 1
		if i < len(rest) && (rest[i] == '+' || rest[i] == '-') {
			i++
		}
		if j := digits(i); j > i {
			k, n = float, j
		}
	}
	l.emit(k, strings.ReplaceAll(rest[:n], "_", ""))
	l.skip(n)
	return nil
}

func (l *lexer) str(rest string) error {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case rest[0]:
			val, err := unescape(rest[1:i])
			if err != nil {
				return err
			}
			l.emit(str, val)
			l.skip(i + 1)
			return nil
		}
	}
	return fmt.Errorf("a string without end: %.20q", rest)
}

// unescape is Python's reading of a string literal.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if j := strings.IndexByte(`abfnrtv\'"`, c); j >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[j])
			continue
		}
		base, digits := 16, 0
		switch {
		case c == '\n':
			continue
		case c == 'x':
			digits = 2
		case c == 'u':
			digits = 4
		case c == 'U':
			digits = 8
		case '0' <= c && c <= '7':
			base, digits, i = 8, 1, i-1
			for digits < 3 && i+1+digits < len(s) && s[i+1+digits] >= '0' && s[i+1+digits] <= '7' {
				digits++
			}
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		}
		r, err := codePoint(s, i+1, digits, base)
		if err != nil {
			return "", err
		}
		b.WriteRune(r)
		i += digits
	}
	return b.String(), nil
}

func codePoint(s string, at, digits, base int) (rune, error) {
	if at+digits > len(s) {
		return 0, fmt.Errorf(`an unfinished escape \%s`, s[at-1:])
	}
	n := 0
	for _, c := range []byte(strings.ToLower(s[at : at+digits])) {
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 || d >= base {
			return 0, fmt.Errorf(`an invalid escape \%s`, s[at-1:at+digits])
		}
		n = n*base + d
	}
	if n > unicode.MaxRune || 0xd800 <= n && n < 0xe000 {
		return 0, fmt.Errorf(`the escape \%s is no character`, s[at-1:at+digits])
	}
	return rune(n), nil
}

// isSpace is Python's str.isspace, which knows four separators that Unicode's
// White_Space does not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }
