package tokenizer

import (
	"fmt"
	"math"
	"strings"
)

// Vocab is a vocabulary as plain arrays, the way GGUF metadata stores it
// (tokenizer.ggml.*). An id that a file does not name is None.
type Vocab struct {
	Model  string    // "gpt2": byte-level BPE, or "llama": SentencePiece BPE with scores
	Pre    string    // for gpt2, the split rule: "llama-bpe", "gpt-2", or "" (see New)
	Tokens []string  // for gpt2 in GPT-2's byte alphabet
	Types  []Kind    // one per token, or nil
	Scores []float32 // llama: one per token
	Merges []string  // gpt2: "left right" in rank order

	BOS, EOS, UNK int32

	AddBOS, AddEOS *bool // nil: the model's habit
	AddSpacePrefix *bool // llama; nil: true
}

// New makes a tokenizer from arrays; name is for error messages. The arrays are
// not kept, nor changed.
//
// Pre "" or "default" is refused, since guessing would cut words differently
// than in training, with one exception: a vocabulary of 128256 tokens that has
// <|begin_of_text|> at 128000 is Llama 3's, whose published BitNet file lacks
// the key.
func New(name string, v Vocab) (*Tokenizer, error) {
	fail := func(format string, args ...any) (*Tokenizer, error) {
		return nil, fmt.Errorf("tokenizer: %s: "+format, append([]any{name}, args...)...)
	}
	switch {
	case len(v.Tokens) == 0:
		return fail("no tokens")
	case len(v.Tokens) > math.MaxInt32:
		return fail("%d tokens", len(v.Tokens))
	case v.Types != nil && len(v.Types) != len(v.Tokens):
		return fail("%d token types for %d tokens", len(v.Types), len(v.Tokens))
	}
	for _, id := range []int32{v.BOS, v.EOS, v.UNK} {
		if id != None && uint(id) >= uint(len(v.Tokens)) {
			return fail("special token id %d, but there are %d tokens", id, len(v.Tokens))
		}
	}
	t := &Tokenizer{name: name, bos: v.BOS, eos: v.EOS}
	t.kinds = make([]Kind, len(v.Tokens))
	for i := range t.kinds {
		t.kinds[i] = Normal
		if v.Types != nil {
			t.kinds[i] = v.Types[i]
			if t.kinds[i] < Normal || t.kinds[i] > Byte {
				return fail("token %d (%q) has the unknown type %d", i, v.Tokens[i], v.Types[i])
			}
		}
	}
	for _, id := range []int32{v.BOS, v.EOS} {
		if id != None && t.kinds[id] == Normal {
			t.kinds[id] = Control
		}
	}
	var err error
	habit := true
	switch v.Model {
	case "gpt2":
		err = t.fromGPT2(v)
		habit = t.split == SplitLlama3
	case "llama":
		err = t.fromSentencePiece(v)
	default:
		return fail("vocabulary model %q; supported are gpt2 and llama", v.Model)
	}
	if err != nil {
		return nil, err
	}
	if v.AddBOS == nil && habit || v.AddBOS != nil && *v.AddBOS {
		t.defaults |= BOS
	}
	if v.AddEOS != nil && *v.AddEOS {
		t.defaults |= EOS
	}
	return t, nil
}

func splitFromPre(v Vocab) (Split, error) {
	switch v.Pre {
	case "llama-bpe", "llama3", "llama-v3":
		return SplitLlama3, nil
	case "gpt-2":
		return SplitGPT2, nil
	case "", "default":
		if isLlama3(v.Tokens) {
			return SplitLlama3, nil
		}
		return 0, fmt.Errorf("the file does not say how to split words (tokenizer.ggml.pre is %q)", v.Pre)
	}
	return 0, fmt.Errorf("split rule %q (tokenizer.ggml.pre); supported are llama-bpe and gpt-2", v.Pre)
}

const llama3Base = 128000

func isLlama3(tokens []string) bool {
	return len(tokens) == llama3Base+len(llama3Specials()) && tokens[llama3Base] == "<|begin_of_text|>"
}

func (t *Tokenizer) fromGPT2(v Vocab) error {
	split, err := splitFromPre(v)
	if err != nil {
		return fmt.Errorf("tokenizer: %s: %w", t.name, err)
	}
	t.split = split
	// llama.cpp takes whole words exactly for this rule.
	t.wholeWord = split == SplitLlama3
	if isLlama3(v.Tokens) {
		// Files exist that type these as normal tokens.
		for i := llama3Base; i < len(v.Tokens); i++ {
			if t.kinds[i] == Normal {
				t.kinds[i] = Control
			}
		}
	}
	total := 0
	for _, s := range v.Tokens {
		total += len(s)
	}
	alpha := byteAlphabet()
	arena := make([]byte, 0, total)
	ends := make([]int, len(v.Tokens))
	for i, s := range v.Tokens {
		if t.kinds[i] == Byte {
			return fmt.Errorf("tokenizer: %s: token %d (%q) has type %d, which a gpt2 vocabulary cannot have", t.name, i, s, t.kinds[i])
		}
		n, ok := len(arena), false
		if t.kinds[i] == Normal {
			if arena, ok = alpha.appendBytes(arena, s); !ok {
				// No text leads here, but a model may still emit it.
				t.kinds[i] = Unused
				arena = arena[:n]
			}
		}
		if !ok {
			arena = append(arena, s...)
		}
		if ends[i] = len(arena); ends[i]-n > longestToken {
			return fmt.Errorf("tokenizer: %s: token %d has %d bytes, more than %d", t.name, i, ends[i]-n, longestToken)
		}
	}
	t.text = cut(arena, ends)
	if err := t.index(); err != nil {
		return err
	}
	parser := mergeParser{t: t}
	merges := make([]merge, len(v.Merges))
	for i, s := range v.Merges {
		left, right, ok := strings.Cut(s, " ")
		why := "want two tokens with one blank between"
		if ok {
			merges[i], why = parser.parse(left, right, i)
		}
		if why != "" {
			return fmt.Errorf("tokenizer: %s: merge %d (%q): %s", t.name, i, s, why)
		}
	}
	return t.finishBPE(merges)
}

// cut returns the strings that end at ends in arena; they share one allocation.
func cut(arena []byte, ends []int) []string {
	all := string(arena)
	out := make([]string, len(ends))
	start := 0
	for i, end := range ends {
		out[i] = all[start:end]
		start = end
	}
	return out
}

// Vocab returns the tokenizer as plain arrays, from which New makes an equal
// one. Where two splits of a token have one rank (tiktoken files), the merge
// list puts them in the order of their ids.
func (t *Tokenizer) Vocab() (Vocab, error) {
	if t.spm != nil {
		return t.spm.source, nil
	}
	v := Vocab{Model: "gpt2", BOS: t.bos, EOS: t.eos, UNK: None}
	switch {
	case t.split == SplitLlama3:
		v.Pre = "llama-bpe"
	case t.split == SplitGPT2, t.pairs == nil: // bytes alone read the same under any rule
		v.Pre = "gpt-2"
	default:
		return Vocab{}, fmt.Errorf("tokenizer: %s: GGUF has no name for the split rule %s", t.name, t.split)
	}
	addBOS, addEOS := t.defaults&BOS != 0, t.defaults&EOS != 0
	v.AddBOS, v.AddEOS = &addBOS, &addEOS
	v.Tokens = make([]string, len(t.text))
	v.Types = append([]Kind(nil), t.kinds...)
	for i := range t.text {
		v.Tokens[i] = t.written(int32(i))
	}
	v.Merges = make([]string, len(t.merges))
	for i, m := range t.merges {
		v.Merges[i] = v.Tokens[m.left] + " " + v.Tokens[m.right]
	}
	return v, nil
}

// written returns the token as a file writes it: normal ones in the byte alphabet.
func (t *Tokenizer) written(id int32) string {
	if t.kinds[id] != Normal {
		return t.text[id]
	}
	return string(byteAlphabet().appendChars(nil, t.text[id]))
}
