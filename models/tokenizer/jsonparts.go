package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// checkNormalizer accepts no normalizer at all, or an empty sequence.
func (p *partJSON) checkNormalizer() error {
	if p == nil {
		return nil
	}
	if p.Type != "Sequence" {
		return fmt.Errorf("%q is not supported", p.Type)
	}
	for _, q := range p.Normalizers {
		if err := q.checkNormalizer(); err != nil {
			return err
		}
	}
	return nil
}

// split returns the rule that a pre-tokenizer describes. The bytes must be
// mapped exactly once, by a ByteLevel that comes last.
func (p *partJSON) split() (Split, error) {
	if p == nil {
		return 0, errors.New("none, but a byte-level vocabulary needs ByteLevel")
	}
	parts, err := flatten(p, func(p *partJSON) []*partJSON { return p.PreTokenizers })
	if err != nil {
		return 0, err
	}
	split := SplitNone
	for i, q := range parts {
		last := i == len(parts)-1
		switch {
		case q.Type == "Split" && i == 0 && !last:
			if split, err = q.splitPattern(); err != nil {
				return 0, err
			}
		case q.Type == "ByteLevel" && last:
			if q.AddPrefixSpace == nil || *q.AddPrefixSpace { // absent means true
				return 0, errors.New("ByteLevel with add_prefix_space is not supported")
			}
			if q.UseRegex == nil || *q.UseRegex {
				if split != SplitNone {
					return 0, errors.New("ByteLevel with use_regex after Split is not supported")
				}
				split = SplitGPT2
			}
			return split, nil
		default:
			return 0, fmt.Errorf("%q at place %d of %d is not supported; supported are ByteLevel, and Split followed by ByteLevel", q.Type, i+1, len(parts))
		}
	}
	return 0, errors.New("an empty sequence, but a byte-level vocabulary needs ByteLevel")
}

func (p *partJSON) splitPattern() (Split, error) {
	if p.Pattern.Regex == nil {
		return 0, errors.New("Split without a Regex pattern is not supported")
	}
	split, ok := splitFromPattern(*p.Pattern.Regex)
	if !ok {
		return 0, fmt.Errorf("the pattern %s is not implemented", *p.Pattern.Regex)
	}
	// The rules cover every character, so these two mean the same.
	if p.Behavior == "Isolated" || p.Behavior == "Removed" && p.Invert {
		return split, nil
	}
	return 0, fmt.Errorf("Split with behavior %q, invert %v is not supported", p.Behavior, p.Invert)
}

// flatten returns the leaves of nested sequences.
func flatten(p *partJSON, children func(*partJSON) []*partJSON) ([]*partJSON, error) {
	if p == nil {
		return nil, errors.New("null in a sequence")
	}
	if p.Type != "Sequence" {
		return []*partJSON{p}, nil
	}
	var leaves []*partJSON
	for _, q := range children(p) {
		more, err := flatten(q, children)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, more...)
	}
	return leaves, nil
}

// template sets bos, eos and defaults from a post-processor. ByteLevel only
// trims offsets there.
func (t *Tokenizer) template(p *partJSON) error {
	if p == nil {
		return nil
	}
	parts, err := flatten(p, func(p *partJSON) []*partJSON { return p.Processors })
	if err != nil {
		return err
	}
	seen := false
	for _, q := range parts {
		switch {
		case q.Type == "ByteLevel":
		case q.Type == "TemplateProcessing" && !seen:
			seen = true
			if err := t.templateSingle(q); err != nil {
				return fmt.Errorf("TemplateProcessing: %w", err)
			}
		default:
			return fmt.Errorf("%q is not supported; supported are ByteLevel and one TemplateProcessing", q.Type)
		}
	}
	return nil
}

func (t *Tokenizer) templateSingle(p *partJSON) error {
	texts := 0
	for i, piece := range p.Single {
		if piece.Sequence != nil {
			texts++
			continue
		}
		if piece.SpecialToken == nil {
			return fmt.Errorf("single[%d] is neither a token nor the text", i)
		}
		name := piece.SpecialToken.ID
		id := t.Special(name)
		if id == None {
			return fmt.Errorf("single[%d]: %q is not a special token", i, name)
		}
		if ids := p.SpecialTokens[name].IDs; len(ids) != 1 || ids[0] != id {
			return fmt.Errorf("special_tokens[%q] is %v, want [%d]", name, ids, id)
		}
		switch {
		case texts == 0 && t.defaults&BOS == 0:
			t.bos = id
			t.defaults |= BOS
		case texts == 1 && t.defaults&EOS == 0:
			t.eos = id
			t.defaults |= EOS
		default:
			return errors.New("more than one token on a side of the text is not supported")
		}
	}
	if texts != 1 {
		return fmt.Errorf("the text occurs %d times", texts)
	}
	return nil
}

// vocabJSON is the object of tokens and ids, in the order of the file. Decoding
// it into a map would hide duplicate keys and take longer.
type vocabJSON []vocabEntry

type vocabEntry struct {
	text string
	id   int32
}

// UnmarshalJSON reads an object that encoding/json has found well-formed.
func (v *vocabJSON) UnmarshalJSON(data []byte) error {
	s := jsonWalker{text: string(data)}
	if s.text == "null" {
		return nil
	}
	if !s.open('{') {
		return errors.New("model.vocab is not an object")
	}
	for !s.close('}') {
		key, ok := s.str()
		s.skip(':')
		id, isID := s.number()
		if !ok || !isID {
			return fmt.Errorf("model.vocab[%q]: want an id below 2^31-1", key)
		}
		*v = append(*v, vocabEntry{key, id})
		s.skip(',')
	}
	return nil
}

// mergesJSON is the list of merges, each "left right" or ["left", "right"].
type mergesJSON [][2]string

// UnmarshalJSON reads an array that encoding/json has found well-formed.
func (m *mergesJSON) UnmarshalJSON(data []byte) error {
	s := jsonWalker{text: string(data)}
	if s.text == "null" {
		return nil
	}
	if !s.open('[') {
		return errors.New("model.merges is not an array")
	}
	for i := 0; !s.close(']'); i++ {
		var pair [2]string
		var ok bool
		if s.open('[') {
			var first, second bool
			pair[0], first = s.str()
			s.skip(',')
			pair[1], second = s.str()
			ok = first && second && s.close(']')
		} else if both, isString := s.str(); isString {
			pair[0], pair[1], ok = strings.Cut(both, " ")
		}
		if !ok {
			return fmt.Errorf(`model.merges[%d]: want "left right" or ["left", "right"]`, i)
		}
		*m = append(*m, pair)
		s.skip(',')
	}
	return nil
}

// jsonWalker steps through well-formed JSON. Strings without escapes are
// substrings of the text, so a vocabulary costs one copy.
type jsonWalker struct {
	text string
	at   int
}

func (s *jsonWalker) skip(c byte) bool {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *jsonWalker) open(c byte) bool { return s.skip(c) }

// close also ends the walk at the end of the text, so that no loop can hang.
func (s *jsonWalker) close(c byte) bool { return s.skip(c) || s.at >= len(s.text) }

func (s *jsonWalker) str() (string, bool) {
	if !s.skip('"') {
		return "", false
	}
	start, escaped := s.at, false
	for s.at < len(s.text) && s.text[s.at] != '"' {
		if s.text[s.at] == '\\' {
			escaped = true
			s.at++
		}
		s.at++
	}
	if s.at >= len(s.text) {
		return "", false
	}
	s.at++
	if !escaped {
		return s.text[start : s.at-1], true
	}
	var out string
	err := json.Unmarshal([]byte(s.text[start-1:s.at]), &out)
	return out, err == nil
}

// number reads a non-negative integer below 2^31-1 (so that id+1 fits).
func (s *jsonWalker) number() (int32, bool) {
	s.skip(0) // white space
	start, n := s.at, int64(0)
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		if n = n*10 + int64(s.text[s.at]-'0'); n >= 1<<31-1 {
			return 0, false
		}
		s.at++
	}
	if s.at == start || s.at < len(s.text) && strings.IndexByte(".eE", s.text[s.at]) >= 0 {
		return 0, false
	}
	return int32(n), true
}
