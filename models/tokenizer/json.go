package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// fileJSON is Hugging Face's tokenizer.json. Its fields truncation and padding
// concern batches, not ids, and are ignored; so is decoder, which for byte-level
// tokens can only be the inverse of the encoder.
type fileJSON struct {
	Normalizer    *partJSON   `json:"normalizer"`
	PreTokenizer  *partJSON   `json:"pre_tokenizer"`
	PostProcessor *partJSON   `json:"post_processor"`
	AddedTokens   []addedJSON `json:"added_tokens"`
	Model         *modelJSON  `json:"model"`
}

type addedJSON struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type modelJSON struct {
	Type                    string     `json:"type"`
	Dropout                 *float64   `json:"dropout"`
	ContinuingSubwordPrefix *string    `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string    `json:"end_of_word_suffix"`
	ByteFallback            bool       `json:"byte_fallback"`
	IgnoreMerges            bool       `json:"ignore_merges"`
	Vocab                   vocabJSON  `json:"vocab"`
	Merges                  mergesJSON `json:"merges"`
}

// partJSON is a normalizer, pre-tokenizer or post-processor: the union of the
// fields of those kinds that are supported.
type partJSON struct {
	Type string `json:"type"`

	Normalizers   []*partJSON `json:"normalizers"`
	PreTokenizers []*partJSON `json:"pretokenizers"`
	Processors    []*partJSON `json:"processors"`

	AddPrefixSpace *bool `json:"add_prefix_space"` // ByteLevel
	UseRegex       *bool `json:"use_regex"`

	Pattern struct { // Split
		Regex  *string
		String *string
	} `json:"pattern"`
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`

	Single []struct { // TemplateProcessing
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct{}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

// ParseJSON reads a byte-level BPE tokenizer from Hugging Face's tokenizer.json.
// name is for error messages.
//
// The normalizer must be absent, the pre-tokenizer one of the split rules (as
// ByteLevel, or as Split with the rule's exact pattern and then ByteLevel), the
// post-processor a template that puts at most one special token in front of a
// text and one behind. Anything else is refused.
func ParseJSON(name string, data []byte) (*Tokenizer, error) {
	t, err := parseJSON(name, data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", name, place(data, err))
	}
	return t, nil
}

// place adds the line to errors that know their offset.
func place(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var offset int64
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	default:
		return err
	}
	offset = min(max(offset, 0), int64(len(data)))
	line := 1 + bytes.Count(data[:offset], []byte("\n"))
	return fmt.Errorf("line %d, offset %d: %w", line, offset, err)
}

func parseJSON(name string, data []byte) (*Tokenizer, error) {
	var f fileJSON
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Model == nil {
		return nil, errors.New("no model: this is not a tokenizer.json")
	}
	if err := f.Model.check(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := f.Normalizer.checkNormalizer(); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	split, err := f.PreTokenizer.split()
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	t := &Tokenizer{name: name, split: split, wholeWord: f.Model.IgnoreMerges, bos: None, eos: None}
	if err := t.placeTokens(f.Model.Vocab, f.AddedTokens); err != nil {
		return nil, err
	}
	if err := t.index(); err != nil {
		return nil, unprefixed(t, err)
	}
	parser := mergeParser{t: t}
	merges := make([]merge, len(f.Model.Merges))
	for i, pair := range f.Model.Merges {
		m, why := parser.parse(pair[0], pair[1], i)
		if why != "" {
			return nil, fmt.Errorf("model.merges[%d]: %s", i, why)
		}
		merges[i] = m
	}
	if err := t.finishBPE(merges); err != nil {
		return nil, unprefixed(t, err)
	}
	if err := t.template(f.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if t.bos == None {
		t.bos = t.firstSpecial(beginNames)
	}
	if t.eos == None {
		t.eos = t.firstSpecial(endNames)
	}
	return t, nil
}

// unprefixed takes off the "tokenizer: name: " that ParseJSON puts on.
func unprefixed(t *Tokenizer, err error) error {
	prefix := fmt.Sprintf("tokenizer: %s: ", t.name)
	return errors.New(string(bytes.TrimPrefix([]byte(err.Error()), []byte(prefix))))
}

func (m *modelJSON) check() error {
	set := func(s *string) bool { return s != nil && *s != "" }
	switch {
	case m.Type != "BPE" && m.Type != "":
		return fmt.Errorf("type %q; supported is BPE", m.Type)
	case m.ByteFallback:
		return errors.New("byte_fallback (a SentencePiece vocabulary) is not supported here; use the model's GGUF file")
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("dropout %g makes encoding random", *m.Dropout)
	case set(m.ContinuingSubwordPrefix):
		return fmt.Errorf("continuing_subword_prefix %q is not supported", *m.ContinuingSubwordPrefix)
	case set(m.EndOfWordSuffix):
		return fmt.Errorf("end_of_word_suffix %q is not supported", *m.EndOfWordSuffix)
	case len(m.Vocab) == 0:
		return errors.New("vocab is empty")
	}
	return nil
}

// placeTokens fills text and kinds from the vocabulary and the added tokens.
func (t *Tokenizer) placeTokens(vocab vocabJSON, added []addedJSON) error {
	size, bytes := int32(0), 0
	for _, v := range vocab {
		size, bytes = max(size, v.id+1), bytes+len(v.text)
	}
	for i, a := range added {
		switch {
		case a.ID < 0 || a.ID == 1<<31-1:
			return fmt.Errorf("added_tokens[%d]: id %d", i, a.ID)
		case a.Content == "":
			return fmt.Errorf("added_tokens[%d]: empty content", i)
		case a.SingleWord || a.LStrip || a.RStrip:
			return fmt.Errorf("added_tokens[%d] (%q): single_word, lstrip and rstrip are not supported", i, a.Content)
		}
		size = max(size, a.ID+1)
	}
	// Holes cost memory that the file's length does not bound.
	if entries := len(vocab) + len(added); int(size) > 2*entries+1024 {
		return fmt.Errorf("model.vocab: the highest id is %d, but there are only %d tokens", size-1, entries)
	}
	t.text = make([]string, size)
	t.kinds = make([]Kind, size)
	for i := range t.kinds {
		t.kinds[i] = Unused
	}
	for i, a := range added {
		if t.kinds[a.ID] != Unused {
			return fmt.Errorf("added_tokens[%d] (%q): id %d belongs to %q already", i, a.Content, a.ID, t.text[a.ID])
		}
		t.text[a.ID], t.kinds[a.ID] = a.Content, UserDefined
		if a.Special {
			t.kinds[a.ID] = Control
		}
	}
	arena := make([]byte, 0, bytes)
	ends := make([]int, len(vocab))
	for i, v := range vocab {
		if t.kinds[v.id] == Normal {
			return fmt.Errorf("model.vocab: id %d for the second time, at %q", v.id, v.text)
		}
		n, ok := len(arena), false
		arena, ok = byteAlphabet().appendBytes(arena, v.text)
		ends[i] = len(arena)
		if t.kinds[v.id] != Unused { // also listed as an added token
			if t.text[v.id] != v.text {
				return fmt.Errorf("model.vocab: id %d is %q here and %q in added_tokens", v.id, v.text, t.text[v.id])
			}
			continue
		}
		if !ok {
			return fmt.Errorf("model.vocab: %q is not in the byte alphabet; only byte-level vocabularies are supported", v.text)
		}
		if ends[i]-n > longestToken {
			return fmt.Errorf("model.vocab: token %d has %d bytes, more than %d", v.id, ends[i]-n, longestToken)
		}
		t.kinds[v.id] = Normal
	}
	for i, s := range cut(arena, ends) {
		if id := vocab[i].id; t.kinds[id] == Normal {
			t.text[id] = s
		}
	}
	return nil
}
