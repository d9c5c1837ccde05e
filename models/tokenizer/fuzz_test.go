package tokenizer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// use exercises a tokenizer that a parser has accepted.
func use(t *testing.T, tok *Tokenizer) {
	t.Helper()
	text := "The cat's 1234  hats\n\n <|eot|>é日\xff🦙" + tok.Token(int32(tok.VocabSize()/2)) + tok.Token(int32(tok.VocabSize()-1))
	for _, opt := range []Option{0, Specials, BOS | EOS} {
		ids := tok.Encode(nil, text, opt)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d in a vocabulary of %d", id, tok.VocabSize())
			}
		}
		if got := tok.Decode(ids); opt == 0 && got != text {
			t.Fatalf("%q comes back as %q", text, got)
		}
	}
	tok.Stops()
}

func FuzzParseJSON(f *testing.F) {
	data := smallJSON(f)
	f.Add(data)
	f.Add(data[:len(data)/3])
	f.Add(bytes.Replace(data, []byte(`"merges": [`), []byte(`"merges": [["a", "b"], `), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := ParseJSON("fuzz", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "tokenizer: fuzz: ") {
				t.Fatalf("the error does not name the file: %v", err)
			}
			return
		}
		use(t, tok)
		var b bytes.Buffer
		if err := tok.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON("again", b.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !slices.Equal(back.text, tok.text) || !slices.Equal(back.kinds, tok.kinds) || !slices.Equal(back.merges, tok.merges) {
			t.Fatal("the tokenizer changes when written and read")
		}
	})
}

// smallRanks is a rank file of all bytes and a few merges.
func smallRanks() []byte {
	var b bytes.Buffer
	rank := 0
	line := func(token string) {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(token)), rank)
		rank++
	}
	for i := range 256 {
		line(string([]byte{byte(i)}))
	}
	for _, s := range []string{"th", "he", "the", " t", " the", "ca", "at", "cat"} {
		line(s)
	}
	return b.Bytes()
}

func FuzzParseTiktoken(f *testing.F) {
	data := smallRanks()
	f.Add(data)
	f.Add(bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")))
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := ParseTiktoken("fuzz", data, SplitLlama3, []string{"<|eot|>"})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "tokenizer: fuzz: ") {
				t.Fatalf("the error does not name the file: %v", err)
			}
			return
		}
		use(t, tok)
	})
}

func TestTiktokenRefuses(t *testing.T) {
	good := string(smallRanks())
	for _, c := range []struct{ old, new, want string }{
		{"dGg= 256\n", "dGg=\n", "line 257: want a base64 token"},
		{"dGg= 256\n", "dGg 256\n", "line 257: the token is not base64"},
		{"dGg= 256\n", "dGh= 256\n", "line 257: the token is not base64"}, // stray bits
		{"dGg= 256\n", " 256\n", "line 257: the token is empty"},
		{"dGg= 256\n", "dGg= x\n", "line 257: the rank"},
		{"dGg= 256\n", "dGg= -1\n", "line 257: the rank"},
		{"dGg= 256\n", "dGg= 99999999999\n", "line 257: the rank"},
		{"dGg= 256\n", "dGg= 300\n", "line 257: rank 300 in a file of"},
		{"dGg= 256\n", "dGg= 255\n", "line 257: rank 255 for the second time"},
		{"dGg= 256\n", "\n", "no line has rank 256"},
		{"dGg= 256\n", "AA== 256\n", `both "\x00"`},
		{"AA== 0\n", "dGhlIA== 0\n", "byte 0x00"},
		{"dGg= 256\n", strings.Repeat("AAAA", longestToken) + " 256\n", "line 257: a token of more than"},
	} {
		data := strings.Replace(good, c.old, c.new, 1)
		if data == good {
			t.Fatalf("%q is not in the file", c.old)
		}
		_, err := ParseTiktoken("tokenizer.model", []byte(data), SplitLlama3, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: tokenizer.model: ") {
			t.Errorf("%q: error %v, want %q", c.new, err, c.want)
		}
	}
}
