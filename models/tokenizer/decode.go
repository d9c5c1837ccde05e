package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Decode returns the text of ids, special tokens by their names. It gives back
// exactly the bytes that were encoded, which are UTF-8 if those were. Ids out
// of range read as U+FFFD. For a SentencePiece vocabulary the blank that
// encoding puts in front of a text is taken off again.
func (t *Tokenizer) Decode(ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = t.appendText(b, id)
	}
	text := string(b)
	if t.spm != nil && t.spm.spacePrefix {
		// The blank stands at the start or behind the beginning-of-text token.
		if len(ids) > 0 && ids[0] == t.bos && t.bos != None {
			name := t.text[t.bos]
			return name + strings.TrimPrefix(text[len(name):], " ")
		}
		text = strings.TrimPrefix(text, " ")
	}
	return text
}

// appendText appends the bytes that id stands for in running text.
func (t *Tokenizer) appendText(b []byte, id int32) []byte {
	if uint(id) >= uint(len(t.text)) {
		return utf8.AppendRune(b, utf8.RuneError)
	}
	if t.spm != nil {
		return t.spm.appendText(b, t.text[id], t.kinds[id])
	}
	return append(b, t.text[id]...)
}

// Stream decodes ids one by one for display. What it returns is always whole
// code points: bytes of an unfinished one wait for the next id, and bytes that
// cannot become one are returned as U+FFFD.
type Stream struct {
	// ShowSpecials makes Push return the names of special tokens; otherwise
	// they read as nothing.
	ShowSpecials bool

	t       *Tokenizer
	pending []byte
}

// Stream returns a decoder for one stream of ids.
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t} }

// Push takes the next id and returns the text that is complete with it, often "".
func (s *Stream) Push(id int32) string {
	if !s.ShowSpecials {
		if k := s.t.Kind(id); k == Control || k == Unknown {
			return ""
		}
	}
	s.pending = s.t.appendText(s.pending, id)
	return s.take(false)
}

// Flush ends the stream and returns what was pending: "" or U+FFFD for every
// byte of an unfinished code point. The Stream can be used again.
func (s *Stream) Flush() string { return s.take(true) }

func (s *Stream) take(all bool) string {
	b := s.pending
	n := len(b)
	if !all {
		n -= unfinished(b)
	}
	if n == 0 {
		return ""
	}
	out := string(b[:n])
	s.pending = append(b[:0], b[n:]...)
	if !utf8.ValidString(out) {
		out = string([]rune(out))
	}
	return out
}

// unfinished returns how many bytes at the end of b begin a code point that
// more bytes could complete: 0 to 3.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
