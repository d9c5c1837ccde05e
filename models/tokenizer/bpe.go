package tokenizer

import (
	"fmt"
	"slices"
)

// longestToken bounds a token's bytes. Llama 3's longest has 128; the bound
// keeps a hostile file from making loading quadratic.
const longestToken = 1024

// finishBPE completes a byte-level tokenizer whose text, kinds and special ids
// are set: it builds the maps and the pair table.
func (t *Tokenizer) finishBPE(merges []merge) error {
	t.classes = unicodeClasses()
	for b := range t.bytes {
		id, ok := t.ids[string([]byte{byte(b)})]
		if !ok {
			return fmt.Errorf("tokenizer: %s: no token for the byte 0x%02x; a byte-level vocabulary has all 256", t.name, b)
		}
		t.bytes[b] = id
	}
	t.merges = merges
	if len(merges) == 0 && !t.wholeWord {
		return nil
	}
	t.pairs = newPairTable(len(merges))
	for _, m := range merges {
		if !t.pairs.add(m) {
			return fmt.Errorf("tokenizer: %s: the pair %q %q merges twice", t.name, t.text[m.left], t.text[m.right])
		}
	}
	return nil
}

// mergesByRank returns every merge of two normal tokens into a third, ranked by
// rank(id). It is what a vocabulary without a merge list means.
func (t *Tokenizer) mergesByRank(rank func(id int32) int32) []merge {
	merges := make([]merge, 0, 2*len(t.text))
	for i, text := range t.text {
		if t.kinds[i] != Normal {
			continue
		}
		for k := 1; k < len(text); k++ {
			left, ok := t.ids[text[:k]]
			if !ok {
				continue
			}
			if right, ok := t.ids[text[k:]]; ok {
				merges = append(merges, merge{left, right, int32(i), rank(int32(i))})
			}
		}
	}
	slices.SortFunc(merges, func(a, b merge) int {
		if a.rank != b.rank {
			return int(a.rank) - int(b.rank)
		}
		if a.left != b.left {
			return int(a.left) - int(b.left)
		}
		return int(a.right) - int(b.right)
	})
	return merges
}

// mergeParser turns written merges, in the byte alphabet, into ids.
type mergeParser struct {
	t   *Tokenizer
	buf []byte
}

// parse looks up the merge of left and right; why says what is wrong with it.
func (p *mergeParser) parse(left, right string, rank int) (m merge, why string) {
	var ok bool
	a := byteAlphabet()
	if p.buf, ok = a.appendBytes(p.buf[:0], left); !ok {
		return m, fmt.Sprintf("%q is not in the byte alphabet", left)
	}
	n := len(p.buf)
	if p.buf, ok = a.appendBytes(p.buf, right); !ok {
		return m, fmt.Sprintf("%q is not in the byte alphabet", right)
	}
	m.rank = int32(rank)
	if m.left, ok = p.t.ids[string(p.buf[:n])]; !ok {
		return m, fmt.Sprintf("%q is not a token", left)
	}
	if m.right, ok = p.t.ids[string(p.buf[n:])]; !ok {
		return m, fmt.Sprintf("%q is not a token", right)
	}
	if m.to, ok = p.t.ids[string(p.buf)]; !ok {
		return m, fmt.Sprintf("%q, which it makes, is not a token", left+right)
	}
	return m, ""
}

// NewBytes returns a tokenizer whose token b is the byte b, followed by the
// given special tokens.
func NewBytes(specials ...string) (*Tokenizer, error) {
	return newTrained("bytes", SplitNone, byteTokens(), nil, specials)
}

func byteTokens() []string {
	text := make([]string, 256)
	for b := range text {
		text[b] = string([]byte{byte(b)})
	}
	return text
}

// newTrained returns a tokenizer of normal tokens, their merges, and specials
// behind them.
func newTrained(name string, split Split, text []string, merges []merge, specials []string) (*Tokenizer, error) {
	t := &Tokenizer{name: name, split: split, text: text, bos: None, eos: None}
	for range text {
		t.kinds = append(t.kinds, Normal)
	}
	for _, s := range specials {
		t.text = append(t.text, s)
		t.kinds = append(t.kinds, Control)
	}
	if err := t.index(); err != nil {
		return nil, err
	}
	t.bos, t.eos = t.firstSpecial(beginNames), t.firstSpecial(endNames)
	if err := t.finishBPE(merges); err != nil {
		return nil, err
	}
	return t, nil
}
