package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sentencePiece is BPE over characters with scores instead of a merge list: of
// all neighbours whose joined text is a token, the pair with the best score
// merges first. Blanks are written as U+2581. There is no splitting into words.
//
// A character that is no token itself may still be part of one, so such
// characters get symbols of their own above the vocabulary; what is left of
// them, and of characters that are in no token, becomes bytes in the end.
type sentencePiece struct {
	source      Vocab
	text        []string // the tokenizer's
	symbols     map[rune]int32
	pairs       *pairTable
	bytes       [256]int32 // None where the vocabulary lacks the byte
	unknown     int32
	spacePrefix bool
}

const blank = "▁"

func (t *Tokenizer) fromSentencePiece(v Vocab) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("tokenizer: %s: "+format, append([]any{t.name}, args...)...)
	}
	if len(v.Scores) != len(v.Tokens) {
		return fail("%d scores for %d tokens", len(v.Scores), len(v.Tokens))
	}
	t.text = slices.Clone(v.Tokens)
	s := &sentencePiece{text: t.text, unknown: v.UNK, symbols: map[rune]int32{}}
	s.spacePrefix = v.AddSpacePrefix == nil || *v.AddSpacePrefix
	for b := range s.bytes {
		s.bytes[b] = None
	}
	for i, text := range t.text {
		switch {
		case math.IsNaN(float64(v.Scores[i])):
			return fail("the score of token %d (%q) is NaN", i, text)
		case len(text) > longestToken:
			return fail("token %d has %d bytes, more than %d", i, len(text), longestToken)
		case t.kinds[i] == Unknown && s.unknown == None:
			s.unknown = int32(i)
		case t.kinds[i] == Byte:
			b, ok := byteToken(text)
			if !ok || s.bytes[b] != None {
				return fail("token %d (%q) is not a byte such as <0x0A>, or is one for the second time", i, text)
			}
			s.bytes[b] = int32(i)
		case t.kinds[i] == Normal && !utf8.ValidString(text):
			return fail("token %d (%q) is not UTF-8", i, text)
		}
	}
	if err := t.index(); err != nil {
		return err
	}
	if s.unknown == None {
		if at := slices.Index(s.bytes[:], None); at >= 0 {
			return fail("no unknown token and no token for the byte 0x%02x, so some text has no ids", at)
		}
	}
	s.addMerges(t, v.Scores)
	s.source = v
	s.source.Tokens, s.source.Scores = slices.Clone(v.Tokens), slices.Clone(v.Scores)
	s.source.Types = slices.Clone(t.kinds)
	t.spm = s
	return nil
}

// addMerges builds the pair table from every way to cut a token in two symbols.
func (s *sentencePiece) addMerges(t *Tokenizer, scores []float32) {
	order := slices.Clone(scores)
	slices.Sort(order)
	order = slices.Compact(order)
	rank := func(id int32) int32 {
		at, _ := slices.BinarySearch(order, scores[id])
		return int32(len(order) - 1 - at) // the best score is rank 0
	}
	extra := int32(len(t.text))
	symbol := func(text string) (int32, bool) {
		if id, ok := t.ids[text]; ok {
			return id, true
		}
		if r, n := utf8.DecodeRuneInString(text); n == len(text) {
			id, ok := s.symbols[r]
			return id, ok
		}
		return None, false
	}
	for i, text := range t.text {
		if t.kinds[i] != Normal {
			continue
		}
		for _, r := range text {
			if _, ok := s.symbols[r]; ok {
				continue
			}
			id, ok := t.ids[string(r)]
			if !ok {
				id = extra
				extra++
			}
			s.symbols[r] = id
		}
	}
	var merges []merge
	for i, text := range t.text {
		if t.kinds[i] != Normal {
			continue
		}
		for k := range text {
			if k == 0 {
				continue
			}
			if left, ok := symbol(text[:k]); ok {
				if right, ok := symbol(text[k:]); ok {
					merges = append(merges, merge{left, right, int32(i), rank(int32(i))})
				}
			}
		}
	}
	s.pairs = newPairTable(len(merges))
	for _, m := range merges {
		s.pairs.add(m) // distinct: the pair determines the text
	}
}

func (s *sentencePiece) encode(e *encoder, dst []int32, text string) []int32 {
	for len(text) > longestWord {
		dst, text = s.encode(e, dst, text[:longestWord]), text[longestWord:]
	}
	b := e.text[:0]
	if s.spacePrefix {
		b = append(b, blank...)
	}
	for {
		before, after, found := strings.Cut(text, " ")
		b = append(b, before...)
		if !found {
			break
		}
		b = append(b, blank...)
		text = after
	}
	e.text, e.syms = b, e.syms[:0]
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		id, ok := s.symbols[r]
		if !ok || r == utf8.RuneError && n == 1 {
			id = None
		}
		e.syms = append(e.syms, id)
		i += n
	}
	e.mergeAll(s.pairs)
	at := 0
	for _, id := range e.syms {
		if id != None && int(id) < len(s.text) {
			dst = append(dst, id)
			at += len(s.text[id])
			continue
		}
		_, n := utf8.DecodeRune(b[at:])
		dst = s.appendUnknown(dst, b[at:at+n])
		at += n
	}
	return dst
}

// appendUnknown appends the ids of a character that no token covers: its bytes,
// or the unknown token if the vocabulary lacks one of them.
func (s *sentencePiece) appendUnknown(dst []int32, char []byte) []int32 {
	n := len(dst)
	for _, b := range char {
		if s.bytes[b] == None {
			return append(dst[:n], s.unknown)
		}
		dst = append(dst, s.bytes[b])
	}
	return dst
}

func (s *sentencePiece) appendText(dst []byte, text string, kind Kind) []byte {
	switch kind {
	case Byte:
		b, _ := byteToken(text)
		return append(dst, b)
	case Normal:
		return append(dst, bytes.ReplaceAll([]byte(text), []byte(blank), []byte(" "))...)
	}
	return append(dst, text...)
}

// byteToken reads a name such as <0x0A>.
func byteToken(name string) (byte, bool) {
	if len(name) != 6 || !strings.HasPrefix(name, "<0x") || name[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(name[3:5], 16, 8)
	return byte(b), err == nil
}
