package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func smallJSON(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := smallTokenizer(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// edit parses data as JSON, puts value at the path, and returns it as JSON.
// A path element is a key; "0" and so on index arrays.
func edit(t testing.TB, data []byte, path string, value any) []byte {
	t.Helper()
	var root any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, "/")
	at := root
	for i, key := range keys {
		last := i == len(keys)-1
		switch v := at.(type) {
		case map[string]any:
			if last {
				v[key] = value
			}
			at = v[key]
		case []any:
			var n int
			if _, err := fmt.Sscan(key, &n); err != nil {
				t.Fatal(err)
			}
			if last {
				v[n] = value
			}
			at = v[n]
		default:
			t.Fatalf("%s: nothing at %s", path, key)
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type obj = map[string]any

var byteLevel = obj{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}

func regexSplit(pattern string) obj {
	return obj{"type": "Split", "pattern": obj{"Regex": pattern}, "behavior": "Isolated", "invert": false}
}

func sequence(key string, parts ...any) obj { return obj{"type": "Sequence", key: parts} }

func TestJSONRefuses(t *testing.T) {
	data := smallJSON(t)
	for _, c := range []struct {
		path  string
		value any
		want  string // in the error
	}{
		{"model", nil, "no model"},
		{"model/type", "Unigram", "Unigram"},
		{"model/byte_fallback", true, "byte_fallback"},
		{"model/dropout", 0.1, "dropout"},
		{"model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
		{"model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
		{"model/vocab", obj{}, "empty"},
		{"model/vocab", []any{1}, "not an object"},
		{"model/vocab", obj{"a": -1}, `vocab["a"]`},
		{"model/vocab", obj{"a": 1.5}, `vocab["a"]`},
		{"model/vocab", obj{"a": "1"}, `vocab["a"]`},
		{"model/vocab", obj{"a": int64(1) << 31}, `vocab["a"]`},
		{"model/vocab", obj{"a": 1 << 30}, "highest id"},
		{"model/vocab", obj{"a": 0, "b": 0}, "second time"},
		{"model/vocab/日", 290, "byte alphabet"},
		{"model/vocab/" + strings.Repeat("a", longestToken+1), 290, "bytes"},
		{"model/merges/0", "a", "merges[0]"},
		{"model/merges/3", []string{"a"}, "merges[3]"},
		{"model/merges/3", []string{"a", "b", "c"}, "merges[3]"},
		{"model/merges/3", 7, "merges[3]"},
		{"model/merges/2", "zz a", `"zz" is not a token`},
		{"model/merges/2", "a zz", `"zz" is not a token`},
		{"model/merges/2", "a z", "which it makes"},
		{"model/merges/2", "a 日", "byte alphabet"},
		{"model/merges/2", "a b c", "byte alphabet"},
		{"model/merges", obj{}, "not an array"},
		{"normalizer", obj{"type": "NFC"}, "NFC"},
		{"normalizer", sequence("normalizers", obj{"type": "Lowercase"}), "Lowercase"},
		{"pre_tokenizer", nil, "pre_tokenizer"},
		{"pre_tokenizer", obj{"type": "Whitespace"}, "Whitespace"},
		{"pre_tokenizer", sequence("pretokenizers"), "empty sequence"},
		{"pre_tokenizer", obj{"type": "ByteLevel"}, "add_prefix_space"},
		{"pre_tokenizer", obj{"type": "ByteLevel", "add_prefix_space": true}, "add_prefix_space"},
		{"pre_tokenizer", regexSplit(patternLlama3), "Split"},
		{"pre_tokenizer", sequence("pretokenizers", nil), "null"},
		{"pre_tokenizer", sequence("pretokenizers", obj{"type": "Digits"}, byteLevel), "Digits"},
		{"pre_tokenizer", sequence("pretokenizers", byteLevel, byteLevel), "ByteLevel"},
		{"pre_tokenizer", sequence("pretokenizers", regexSplit(patternLlama3), regexSplit(patternLlama3), byteLevel), "Split"},
		{"pre_tokenizer", sequence("pretokenizers", regexSplit(patternLlama3+"|x"), byteLevel), "is not implemented"},
		{"pre_tokenizer", sequence("pretokenizers", regexSplit(`\s`), byteLevel), `the pattern \s `},
		{"pre_tokenizer", sequence("pretokenizers", regexSplit(patternLlama3), obj{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}), "use_regex"},
		{"pre_tokenizer", sequence("pretokenizers", obj{"type": "Split", "pattern": obj{"String": " "}, "behavior": "Isolated"}, byteLevel), "Regex"},
		{"pre_tokenizer", sequence("pretokenizers", obj{"type": "Split", "pattern": obj{"Regex": patternLlama3}, "behavior": "Removed"}, byteLevel), "Removed"},
		{"post_processor", obj{"type": "BertProcessing"}, "BertProcessing"},
		{"post_processor/single", []any{}, "0 times"},
		{"post_processor/single/0/SpecialToken/id", "nope", `"nope" is not a special token`},
		{"post_processor/special_tokens", obj{}, "special_tokens"},
		{"added_tokens/0/rstrip", true, "rstrip"},
		{"added_tokens/0/id", -4, "id -4"},
		{"added_tokens/0/id", 1 << 30, "highest id"},
		{"added_tokens/0/id", 281, "belongs to"},
		{"added_tokens/0/id", 279, "added_tokens"},
		{"added_tokens/0/content", "", "empty"},
		{"added_tokens/1/content", "<|begin_of_text|>", "both"},
		{"added_tokens/0/content", 7, "offset"},
	} {
		_, err := ParseJSON("dir/tokenizer.json", edit(t, data, c.path, c.value))
		if err == nil {
			t.Errorf("%s = %v is accepted", c.path, c.value)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, c.want) || !strings.HasPrefix(msg, "tokenizer: dir/tokenizer.json: ") || strings.Count(msg, "dir/") != 1 {
			t.Errorf("%s = %v: error %q, want it to name the file and %q", c.path, c.value, msg, c.want)
		}
	}
}

func TestJSONAccepts(t *testing.T) {
	data := smallJSON(t)
	gpt2 := obj{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	for _, c := range []struct {
		path  string
		value any
		split Split
	}{
		{"truncation", obj{"max_length": 8}, SplitLlama3},
		{"normalizer", sequence("normalizers"), SplitLlama3},
		{"pre_tokenizer", byteLevel, SplitNone},
		{"pre_tokenizer", gpt2, SplitGPT2},
		{"pre_tokenizer", obj{"type": "ByteLevel", "add_prefix_space": false}, SplitGPT2},
		{"pre_tokenizer", sequence("pretokenizers", sequence("pretokenizers", regexSplit(patternGPT2)), byteLevel), SplitGPT2},
		{"pre_tokenizer", sequence("pretokenizers", obj{"type": "Split", "pattern": obj{"Regex": patternLlama3}, "behavior": "Removed", "invert": true}, byteLevel), SplitLlama3},
		{"post_processor", sequence("processors", byteLevel), SplitLlama3},
	} {
		tok, err := ParseJSON("x", edit(t, data, c.path, c.value))
		if err != nil {
			t.Errorf("%s = %v: %v", c.path, c.value, err)
			continue
		}
		if tok.split != c.split {
			t.Errorf("%s = %v: split %v, want %v", c.path, c.value, tok.split, c.split)
		}
	}
}

// The list of merges in its newer form, and the vocabulary in any order.
func TestJSONMergePairs(t *testing.T) {
	tok := smallTokenizer(t)
	data := smallJSON(t)
	var pairs [][2]string
	for _, m := range tok.merges {
		pairs = append(pairs, [2]string{tok.written(m.left), tok.written(m.right)})
	}
	back, err := ParseJSON("pairs", edit(t, data, "model/merges", pairs))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(tok.merges, back.merges, cmp.AllowUnexported(merge{})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(tok.text, back.text); d != "" {
		t.Error(d)
	}
}

func TestJSONAddedTokens(t *testing.T) {
	data := smallJSON(t)
	data = edit(t, edit(t, data, "model/merges", []any{}), "post_processor", nil)
	added := []obj{
		{"id": 295, "content": "<|begin_of_text|>", "special": true},
		{"id": 303, "content": "the cat", "special": false, "normalized": true},
		{"id": 97, "content": "a", "special": false}, // also in the vocabulary
	}
	tok, err := ParseJSON("x", edit(t, data, "added_tokens", added))
	if err == nil || !strings.Contains(err.Error(), "byte 0x61") {
		t.Errorf("an added token hides the byte a: %v, %v", tok, err)
	}
	tok, err = ParseJSON("x", edit(t, data, "added_tokens", added[:2]))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.VocabSize(), 304; got != want {
		t.Errorf("vocabulary of %d, want %d", got, want)
	}
	if got := tok.Encode(nil, "xthe catx"); !slices.Equal(got, []int32{'x', 303, 'x'}) {
		t.Errorf("a user-defined token is not matched in plain text: %v", got)
	}
	if tok.Special("the cat") != None || tok.Kind(303) != UserDefined || tok.Kind(300) != Unused || tok.Token(300) != "" {
		t.Errorf("kinds %d and %d", tok.Kind(303), tok.Kind(300))
	}
}

func TestSaveFolder(t *testing.T) {
	tok := smallTokenizer(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, configFile)
	if err := os.WriteFile(config, []byte(`{"chat_template": "<{{x}}>", "bos_token": null, "eos_token": {"content": "<|eot|>"}}`), 0o666); err != nil {
		t.Fatal(err)
	}
	back, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.EOS() != tok.Special("<|eot|>") || back.BOS() != tok.BOS() {
		t.Errorf("bos %d, eos %d", back.BOS(), back.EOS())
	}
	if err := back.Save(dir); err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"chat_template": "<{{x}}>", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot|>"}
	if d := cmp.Diff(want, keys); d != "" {
		t.Error(d)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := string(smallJSON(t))
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "absent"), "no such file"},
		{write("empty", " \n"), "empty"},
		{write("x.gguf", "GGUF\x03"), "GGUF"},
		{write("sp.model", "\n\x0e\n\x05<unk>"), "SentencePiece"},
		{write("cut.json", small[:len(small)/2]), "line "},
		{write("few.model", "IQ== 0\nIg== 1\n"), "128000"},
		{write("x.model", "IQ== 0\nIg=1 1\n"), "line 2"},
		{write("none/README", ""), "neither"},
		{write("bad/tokenizer.json", "{}"), "no model"},
	} {
		path := c.path
		if b := filepath.Base(path); b == "README" || b == "tokenizer.json" {
			path = filepath.Dir(path)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want it to name the file and %q", path, err, c.want)
		}
	}
	write("m/tokenizer.json", small)
	write("m/tokenizer_config.json", `{"eos_token": "<|nope|>"}`)
	if _, err := Load(filepath.Join(dir, "m")); err == nil || !strings.Contains(err.Error(), "<|nope|>") {
		t.Errorf("an unknown end token: %v", err)
	}
}
