package tokenizer

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// TrainOptions says what tokenizer a [Trainer] makes.
type TrainOptions struct {
	// VocabSize counts everything: 256 bytes, merges and specials.
	VocabSize int
	// Split is SplitGPT2 or SplitLlama3.
	Split Split
	// Specials follow the merges. Nil means <|begin_of_text|> and <|end_of_text|>.
	Specials []string
	// AddBOS puts BOS into the tokenizer's defaults.
	AddBOS bool
	// MinCount is how often a pair must occur to be merged; 0 means 2. With
	// little text the vocabulary ends up smaller than VocabSize.
	MinCount int
	// MaxTokenBytes bounds a token's length; 0 means 64.
	MaxTokenBytes int
}

// Trainer learns a byte-level BPE from text. Feed it, then call Train. It keeps
// each different word once, not the text. Equal texts in an equal order give
// equal tokenizers, however they are cut into reads.
type Trainer struct {
	opt     TrainOptions
	classes *classTable
	index   map[string]int32 // word to its place in words
	words   []trainWord
	chunk   int // bytes read at a time
}

type trainWord struct {
	text  string
	count int64
}

// NewTrainer checks the options.
func NewTrainer(opt TrainOptions) (*Trainer, error) {
	if opt.Specials == nil {
		opt.Specials = []string{beginNames[0], endNames[0]}
	}
	if opt.MinCount == 0 {
		opt.MinCount = 2
	}
	if opt.MaxTokenBytes == 0 {
		opt.MaxTokenBytes = 64
	}
	least := 256 + len(opt.Specials)
	switch {
	case opt.Split != SplitGPT2 && opt.Split != SplitLlama3:
		return nil, fmt.Errorf("tokenizer: training needs the split rule %s or %s, not %s", SplitGPT2, SplitLlama3, opt.Split)
	case opt.VocabSize < least || opt.VocabSize > 1<<20:
		return nil, fmt.Errorf("tokenizer: a vocabulary of %d; want %d (bytes and specials) to %d", opt.VocabSize, least, 1<<20)
	case opt.MinCount < 1:
		return nil, fmt.Errorf("tokenizer: MinCount %d; want at least 1", opt.MinCount)
	case opt.MaxTokenBytes < 2 || opt.MaxTokenBytes > longestToken:
		return nil, fmt.Errorf("tokenizer: MaxTokenBytes %d; want 2 to %d", opt.MaxTokenBytes, longestToken)
	}
	return &Trainer{opt: opt, classes: unicodeClasses(), index: map[string]int32{}, chunk: 1 << 20}, nil
}

// Feed counts the words of one text, up to the reader's end. Words do not reach
// from one text into the next. Memory beyond the words is 1 MiB, or twice the
// longest stretch without a place where text can be cut for certain (a blank
// before a letter, a single line break).
func (t *Trainer) Feed(r io.Reader) error {
	buf := make([]byte, 0, t.chunk)
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.count(string(buf))
			return nil
		}
		if err != nil {
			return fmt.Errorf("tokenizer: reading text to train on: %w", err)
		}
		cut := t.cut(buf)
		if cut == 0 {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
			continue
		}
		t.count(string(buf[:cut]))
		buf = buf[:copy(buf, buf[cut:])]
	}
}

// cut returns the last place in buf where a word ends whatever follows buf, and
// where the words before are the same as if the text ended there; 0 if there is
// none. Both hold under both rules before a blank that precedes a letter, and
// behind a line feed that separates two visible characters.
func (t *Trainer) cut(buf []byte) int {
	for i := len(buf) - 2; i > 0; i-- {
		switch buf[i] {
		case ' ':
			if next := buf[i+1] | 0x20; next >= 'a' && next <= 'z' {
				return i
			}
		case '\n':
			before, _ := utf8.DecodeLastRune(buf[:i])
			after, _ := utf8.DecodeRune(buf[i+1:])
			if t.classes.of(before) < space && t.classes.of(after) < space && utf8.FullRune(buf[i+1:]) {
				return i + 1
			}
		}
	}
	return 0
}

func (t *Trainer) count(text string) {
	for i := 0; i < len(text); {
		j := t.opt.Split.next(t.classes, text, i)
		word := text[i:j]
		i = j
		if len(word) < 2 {
			continue // a byte alone is in no pair
		}
		at, ok := t.index[word]
		if !ok {
			at = int32(len(t.words))
			word = string([]byte(word)) // not to keep the whole text
			t.index[word] = at
			t.words = append(t.words, trainWord{text: word})
		}
		t.words[at].count++
	}
}

// Train learns the merges from what was fed so far and returns the tokenizer.
// It takes memory for about 10 bytes per byte of different words.
func (t *Trainer) Train() (*Tokenizer, error) {
	l := newLearner(t.words, t.opt.MaxTokenBytes)
	for len(l.text) < t.opt.VocabSize-len(t.opt.Specials) && l.step(int64(t.opt.MinCount)) {
	}
	tok, err := newTrained("trained", t.opt.Split, l.text, l.merges, t.opt.Specials)
	if err != nil {
		return nil, err
	}
	if t.opt.AddBOS {
		if tok.bos == None {
			return nil, fmt.Errorf("tokenizer: AddBOS needs one of %q among the specials", beginNames)
		}
		tok.defaults |= BOS
	}
	return tok, nil
}
