package tokenizer

import (
	"sync"
	"unicode/utf8"
)

// GPT-2 files write each byte of a token as one visible character: printable
// Latin-1 bytes as themselves, the other 68 as U+0100 and up in byte order (so
// a blank is Ġ). This is that alphabet.
type alphabet struct {
	char [256]rune
	byte [0x144]int16 // -1 where the character is not of the alphabet
}

var byteAlphabet = sync.OnceValue(func() *alphabet {
	a := new(alphabet)
	for i := range a.byte {
		a.byte[i] = -1
	}
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		a.char[b] = r
		a.byte[r] = int16(b)
	}
	return a
})

// appendBytes appends the bytes that the characters of s stand for; ok is false
// if one of them is not of the alphabet.
func (a *alphabet) appendBytes(dst []byte, s string) (_ []byte, ok bool) {
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if int(r) >= len(a.byte) || a.byte[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(a.byte[r]))
		i += n
	}
	return dst, true
}

// appendChars appends the characters that stand for the bytes of s.
func (a *alphabet) appendChars(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = utf8.AppendRune(dst, a.char[s[i]])
	}
	return dst
}
