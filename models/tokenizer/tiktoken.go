package tokenizer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// llama3Specials are the names that follow Llama 3's 128000 ranks, which the
// rank file itself does not list.
func llama3Specials() []string {
	names := []string{"<|begin_of_text|>", "<|end_of_text|>"}
	reserved := 0
	reserve := func(n int) {
		for range n {
			names = append(names, fmt.Sprintf("<|reserved_special_token_%d|>", reserved))
			reserved++
		}
	}
	reserve(4)
	names = append(names, "<|start_header_id|>", "<|end_header_id|>")
	reserve(1)
	names = append(names, "<|eot_id|>")
	reserve(246)
	return names
}

// ParseTiktoken reads a tiktoken rank file: lines of a token in base64 and its
// rank, which is also its id; the ranks are 0, 1, 2, … in any order. The file
// says neither how to split words nor which special tokens follow. name is for
// error messages.
func ParseTiktoken(name string, data []byte, split Split, specials []string) (*Tokenizer, error) {
	t, err := parseRanks(name, data)
	if err != nil {
		return nil, err
	}
	return t.finishTiktoken(split, specials)
}

// parseLlama3 reads a rank file that is Llama 3's by its number of ranks.
func parseLlama3(name string, data []byte) (*Tokenizer, error) {
	t, err := parseRanks(name, data)
	if err != nil {
		return nil, err
	}
	if len(t.text) != llama3Base {
		return nil, fmt.Errorf("tokenizer: %s: %d ranks; only Llama 3's %d tell their split rule and special tokens (use ParseTiktoken for others)",
			name, len(t.text), llama3Base)
	}
	t.defaults = BOS
	return t.finishTiktoken(SplitLlama3, llama3Specials())
}

func parseRanks(name string, data []byte) (*Tokenizer, error) {
	lines := bytes.Count(data, []byte("\n")) + 1
	text := make([]string, 0, lines)
	seen := make([]bool, lines)
	buf := make([]byte, longestToken)
	for line := 1; len(data) > 0; line++ {
		fail := func(format string, args ...any) (*Tokenizer, error) {
			return nil, fmt.Errorf("tokenizer: %s: line %d: "+format, append([]any{name, line}, args...)...)
		}
		var row []byte
		row, data, _ = bytes.Cut(data, []byte("\n"))
		row = bytes.TrimSuffix(row, []byte("\r"))
		if len(row) == 0 {
			continue
		}
		code, number, ok := bytes.Cut(row, []byte(" "))
		if !ok {
			return fail("want a base64 token, a blank and a rank")
		}
		if base64.StdEncoding.DecodedLen(len(code)) > longestToken {
			return fail("a token of more than %d bytes", longestToken)
		}
		n, err := base64.StdEncoding.Strict().Decode(buf, code)
		if err != nil {
			return fail("the token is not base64: %w", err)
		}
		if n == 0 {
			return fail("the token is empty")
		}
		rank, err := strconv.ParseUint(string(number), 10, 31)
		switch {
		case err != nil:
			return fail("the rank %q is not a number", number)
		case rank >= uint64(lines):
			return fail("rank %d in a file of %d lines: ranks must be 0, 1, 2, …", rank, lines)
		case seen[rank]:
			return fail("rank %d for the second time", rank)
		}
		seen[rank] = true
		if int(rank) >= len(text) {
			text = text[:rank+1] // cap is lines
		}
		text[rank] = string(buf[:n])
	}
	for rank := range text {
		if !seen[rank] {
			return nil, fmt.Errorf("tokenizer: %s: no line has rank %d", name, rank)
		}
	}
	return &Tokenizer{name: name, text: text, bos: None, eos: None}, nil
}

func (t *Tokenizer) finishTiktoken(split Split, specials []string) (*Tokenizer, error) {
	t.split, t.wholeWord = split, true
	t.kinds = make([]Kind, len(t.text), len(t.text)+len(specials))
	for i := range t.kinds {
		t.kinds[i] = Normal
	}
	for _, s := range specials {
		t.text = append(t.text, s)
		t.kinds = append(t.kinds, Control)
	}
	if err := t.index(); err != nil {
		return nil, err
	}
	t.bos, t.eos = t.firstSpecial(beginNames), t.firstSpecial(endNames)
	if err := t.finishBPE(t.mergesByRank(func(id int32) int32 { return id })); err != nil {
		return nil, err
	}
	return t, nil
}
