package tokenizer

import (
	"fmt"
	"slices"
)

// Kind says what a token is. The values are GGUF's token types.
type Kind int32

const (
	Normal      Kind = 1 // made by merging text
	Unknown     Kind = 2 // stands for text that no token covers
	Control     Kind = 3 // special: never produced from text unless allowed
	UserDefined Kind = 4 // always matched in text before anything else
	Unused      Kind = 5 // a hole in the id range
	Byte        Kind = 6 // one raw byte of a SentencePiece vocabulary
)

// Option changes one call of [Tokenizer.Encode]; options combine.
type Option uint8

const (
	BOS      Option = 1 << iota // put the beginning-of-text token in front
	EOS                         // put the end-of-text token behind
	Specials                    // text that spells a special token becomes that token
)

// None is the id that stands for "this tokenizer has no such token".
const None int32 = -1

// Tokenizer maps text to ids and back. Make one with [Load], [ParseJSON],
// [ParseTiktoken], [New], [NewBytes] or a [Trainer].
type Tokenizer struct {
	name  string // of the file, for errors
	text  []string
	kinds []Kind
	ids   map[string]int32 // by text; normal tokens win over all others

	named    map[string]int32 // Control and UserDefined tokens by text
	bos, eos int32
	defaults Option

	split     Split
	classes   *classTable
	wholeWord bool // a word that is a token is taken without merging
	pairs     *pairTable
	merges    []merge // in rank order, kept for saving
	bytes     [256]int32

	spm *sentencePiece // nil for byte-level BPE

	plain, special *matcher // added tokens to look for without and with Specials
	free           encoderPool
}

// VocabSize is one more than the highest id.
func (t *Tokenizer) VocabSize() int { return len(t.text) }

// Token returns the bytes that id stands for (a special token's own name), or
// "" when id is out of range. The bytes need not be whole code points.
func (t *Tokenizer) Token(id int32) string {
	if uint(id) >= uint(len(t.text)) {
		return ""
	}
	return string(t.appendText(nil, id))
}

// Kind returns what id is; ids out of range are Unused.
func (t *Tokenizer) Kind(id int32) Kind {
	if uint(id) >= uint(len(t.kinds)) {
		return Unused
	}
	return t.kinds[id]
}

// ID returns the token whose bytes are exactly text.
func (t *Tokenizer) ID(text string) (id int32, ok bool) {
	if id, ok = t.ids[text]; !ok {
		id, ok = t.named[text]
	}
	return id, ok
}

// Special returns the special token of that name, or None.
func (t *Tokenizer) Special(name string) int32 {
	if id, ok := t.named[name]; ok && t.kinds[id] == Control {
		return id
	}
	return None
}

// BOS returns the token that begins a text, or None.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the token that ends a text, or None.
func (t *Tokenizer) EOS() int32 { return t.eos }

// Defaults returns the options that the tokenizer's own file asks for when a
// whole text is encoded: BOS, EOS, both or neither.
func (t *Tokenizer) Defaults() Option { return t.defaults }

// turnEnds are the names of special tokens after which no model goes on.
// BitNet b1.58 2B4T names only the first as its end token and stops on both.
var turnEnds = []string{
	"<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|im_end|>", "<|end|>", "</s>",
}

// Stops returns the tokens at which generation ends, in increasing order: the
// end-of-text token and every known end-of-turn token.
func (t *Tokenizer) Stops() []int32 {
	var stops []int32
	if t.eos != None {
		stops = append(stops, t.eos)
	}
	for _, name := range turnEnds {
		if id := t.Special(name); id != None {
			stops = append(stops, id)
		}
	}
	slices.Sort(stops)
	return slices.Compact(stops)
}

// Names by which a file that does not say so is understood.
var (
	beginNames = []string{"<|begin_of_text|>", "<s>", "<|startoftext|>"}
	endNames   = []string{"<|end_of_text|>", "</s>", "<|endoftext|>"}
)

func (t *Tokenizer) firstSpecial(names []string) int32 {
	for _, name := range names {
		if id := t.Special(name); id != None {
			return id
		}
	}
	return None
}

// index fills the maps and matchers from text and kinds.
func (t *Tokenizer) index() error {
	t.ids = make(map[string]int32, len(t.text))
	t.named = map[string]int32{}
	for i, text := range t.text {
		into := t.ids
		switch t.kinds[i] {
		case Unused, Byte:
			continue
		case Control, UserDefined, Unknown:
			into = t.named
		}
		if text == "" {
			return fmt.Errorf("tokenizer: %s: token %d is empty", t.name, i)
		}
		if other, dup := into[text]; dup {
			return fmt.Errorf("tokenizer: %s: tokens %d and %d are both %q", t.name, other, i, text)
		}
		into[text] = int32(i)
	}
	plain := map[string]int32{}
	special := map[string]int32{}
	for text, id := range t.named {
		switch t.kinds[id] {
		case UserDefined:
			plain[text], special[text] = id, id
		case Control:
			special[text] = id
		}
	}
	t.plain, t.special = newMatcher(plain), newMatcher(special)
	return nil
}
