package tokenizer

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func smallVocab(t testing.TB) Vocab {
	t.Helper()
	v, err := smallTokenizer(t).Vocab()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVocabRoundTrip(t *testing.T) {
	tok := smallTokenizer(t)
	v := smallVocab(t)
	back, err := New("arrays", v)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(tok.text, back.text); d != "" {
		t.Error(d)
	}
	again, err := back.Vocab()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, again); d != "" {
		t.Error(d)
	}
	if back.Defaults() != BOS || back.BOS() != tok.BOS() || back.EOS() != tok.EOS() {
		t.Errorf("bos %d, eos %d, defaults %d", back.BOS(), back.EOS(), back.Defaults())
	}
	bytesOnly, err := NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	// GGUF has no name for "do not split", which makes no difference to bytes.
	if v, err = bytesOnly.Vocab(); err != nil {
		t.Fatal(err)
	}
	if back, err = New("arrays", v); err != nil {
		t.Fatal(err)
	}
	text := "it's  \n x\xff1234"
	if d := cmp.Diff(bytesOnly.Encode(nil, text), back.Encode(nil, text)); d != "" {
		t.Error(d)
	}
	tok.split = SplitNone
	if _, err := tok.Vocab(); err == nil {
		t.Error("a split rule that GGUF cannot name is exported")
	}
}

// Llama 3's vocabulary is recognised without the split rule and with types that
// do not mark its specials, as published BitNet files have it.
func TestVocabPublishedBitNet(t *testing.T) {
	v, err := llama3(t).Vocab()
	if err != nil {
		t.Fatal(err)
	}
	v.Pre, v.AddBOS = "", nil
	for _, types := range [][]Kind{nil, slices.Repeat([]Kind{Normal}, len(v.Tokens))} {
		v.Types = types
		tok, err := New("ggml-model-i2_s.gguf", v)
		if err != nil {
			t.Fatal(err)
		}
		got := tok.Encode(nil, "User: don't<|eot_id|>", Specials, tok.Defaults())
		if want := []int32{128000, 1502, 25, 1541, 956, 128009}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if d := cmp.Diff([]int32{128001, 128009}, tok.Stops()); d != "" {
			t.Errorf("stops: %s", d)
		}
	}
}

func TestVocabRefuses(t *testing.T) {
	gpt2 := smallVocab(t)
	llama := spmVocab([]string{"▁", "a"}, []float32{-1, -1})
	for _, c := range []struct {
		name   string
		from   Vocab
		change func(*Vocab)
		want   string
	}{
		{"no tokens", gpt2, func(v *Vocab) { v.Tokens = nil }, "no tokens"},
		{"model", gpt2, func(v *Vocab) { v.Model = "t5" }, `"t5"`},
		{"pre", gpt2, func(v *Vocab) { v.Pre = "qwen2" }, `"qwen2"`},
		{"no pre", gpt2, func(v *Vocab) { v.Pre = "" }, "does not say how to split"},
		{"types", gpt2, func(v *Vocab) { v.Types = v.Types[1:] }, "token types"},
		{"type", gpt2, func(v *Vocab) { v.Types[7] = 9 }, "token 7"},
		{"byte type", gpt2, func(v *Vocab) { v.Types[7] = Byte }, "token 7"},
		{"bos", gpt2, func(v *Vocab) { v.BOS = 5000 }, "5000"},
		{"eos", gpt2, func(v *Vocab) { v.EOS = -2 }, "-2"},
		{"duplicate", gpt2, func(v *Vocab) { v.Tokens[257] = v.Tokens[256] }, "both"},
		{"empty", gpt2, func(v *Vocab) { v.Tokens[257] = "" }, "257 is empty"},
		{"long", gpt2, func(v *Vocab) { v.Tokens[257] = strings.Repeat("a", longestToken+1) }, "257"},
		{"byte missing", gpt2, func(v *Vocab) { v.Tokens[0] = "zzz" }, "byte 0x00"},
		{"merge", gpt2, func(v *Vocab) { v.Merges[2] = "ab" }, "merge 2"},
		{"merge token", gpt2, func(v *Vocab) { v.Merges[2] = "a zzz" }, "merge 2"},
		{"merge twice", gpt2, func(v *Vocab) { v.Merges[2] = v.Merges[1] }, "twice"},
		{"scores", llama, func(v *Vocab) { v.Scores = nil }, "scores"},
		{"NaN", llama, func(v *Vocab) { v.Scores[259] = float32(math.NaN()) }, "NaN"},
		{"byte name", llama, func(v *Vocab) { v.Tokens[3] = "<0xZZ>" }, "<0xZZ>"},
		{"byte twice", llama, func(v *Vocab) { v.Tokens[3] = "<0x01>" }, "second time"},
		{"not utf-8", llama, func(v *Vocab) { v.Tokens[259] = "\xff" }, "UTF-8"},
		{"no fallback", llama, func(v *Vocab) { v.UNK, v.Types[0], v.Types[3] = None, Control, Unused }, "no unknown token"},
	} {
		v := c.from
		v.Tokens, v.Types = slices.Clone(v.Tokens), slices.Clone(v.Types)
		v.Merges, v.Scores = slices.Clone(v.Merges), slices.Clone(v.Scores)
		c.change(&v)
		_, err := New("model.gguf", v)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: model.gguf: ") {
			t.Errorf("%s: error %v, want it to name the file and %q", c.name, err, c.want)
		}
	}
}

// A normal token outside the byte alphabet cannot come from text, but can be decoded.
func TestVocabForeignToken(t *testing.T) {
	v := smallVocab(t)
	v.Tokens = append(v.Tokens, "日 本")
	v.Types = append(v.Types, Normal)
	tok, err := New("x", v)
	if err != nil {
		t.Fatal(err)
	}
	id := int32(len(v.Tokens) - 1)
	if tok.Decode([]int32{id}) != "日 本" || slices.Contains(tok.Encode(nil, "日 本"), id) {
		t.Errorf("decodes to %q", tok.Decode([]int32{id}))
	}
}
