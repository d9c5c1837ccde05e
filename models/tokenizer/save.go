package tokenizer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Save writes the tokenizer where Hugging Face's libraries find it. A path that
// ends in .json becomes one tokenizer.json; any other path is a folder, which is
// made, and gets tokenizer.json and a tokenizer_config.json that names the
// special tokens (other keys of an existing one are kept). Each file is replaced
// as a whole or not at all.
func (t *Tokenizer) Save(path string) error {
	file := path
	if !strings.HasSuffix(path, ".json") {
		if err := os.MkdirAll(path, 0o777); err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
		file = filepath.Join(path, tokenizerFile)
	}
	if err := replaceFile(file, t.WriteJSON); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	if file == path {
		return nil
	}
	config := filepath.Join(path, configFile)
	keys := map[string]json.RawMessage{}
	switch data, err := os.ReadFile(config); {
	case errors.Is(err, fs.ErrNotExist):
		keys["tokenizer_class"] = json.RawMessage(`"PreTrainedTokenizerFast"`)
	case err != nil:
		return fmt.Errorf("tokenizer: %w", err)
	default:
		if err := json.Unmarshal(data, &keys); err != nil {
			return fmt.Errorf("tokenizer: %s: %w", config, place(data, err))
		}
	}
	for key, id := range map[string]int32{"bos_token": t.bos, "eos_token": t.eos} {
		keys[key] = json.RawMessage("null")
		if id != None {
			keys[key] = quote(t.text[id])
		}
	}
	out, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return fmt.Errorf("tokenizer: %s: %w", config, err)
	}
	err = replaceFile(config, func(w io.Writer) error {
		_, err := w.Write(append(out, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	return nil
}

// replaceFile writes a file beside path and renames it to path, so that a crash
// leaves the old file or the new one.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// WriteJSON writes the tokenizer as Hugging Face's tokenizer.json. Only
// byte-level tokenizers have that form. Where two splits of a token have one
// rank (tiktoken files), the merge list puts them in the order of their ids, as
// Hugging Face's own converter does.
func (t *Tokenizer) WriteJSON(w io.Writer) error {
	if t.spm != nil {
		return fmt.Errorf("tokenizer: %s: a SentencePiece vocabulary cannot be written as tokenizer.json", t.name)
	}
	b := bufio.NewWriterSize(w, 1<<16)
	raw := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }

	raw("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [")
	comma := ""
	for i, k := range t.kinds {
		if k != Control && k != UserDefined {
			continue
		}
		raw("%s\n    {\"id\": %d, \"content\": %s, \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": %v}",
			comma, i, quote(t.text[i]), k == Control)
		comma = ","
	}
	raw("\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": ")
	byteLevel := `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}`
	if pattern := t.split.Pattern(); pattern == "" {
		raw("%s", byteLevel)
	} else {
		raw("{\"type\": \"Sequence\", \"pretokenizers\": [\n    {\"type\": \"Split\", \"pattern\": {\"Regex\": %s}, \"behavior\": \"Isolated\", \"invert\": false},\n    %s\n  ]}",
			quote(pattern), byteLevel)
	}
	raw(",\n  \"post_processor\": %s,\n  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n", t.templateJSON())
	raw("  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n")
	raw("    \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": %v,\n    \"vocab\": {", t.wholeWord)
	written := make([]string, len(t.text))
	comma = ""
	for i, k := range t.kinds {
		if k == Normal {
			written[i] = t.written(int32(i))
			raw("%s\n      %s: %d", comma, quote(written[i]), i)
			comma = ","
		}
	}
	raw("\n    },\n    \"merges\": [")
	comma = ""
	for _, m := range t.merges {
		raw("%s\n      %s", comma, quote(written[m.left]+" "+written[m.right]))
		comma = ","
	}
	raw("\n    ]\n  }\n}\n")
	return b.Flush()
}

// templateJSON is the post-processor that puts the default tokens around a text.
func (t *Tokenizer) templateJSON() string {
	if t.defaults == 0 {
		return "null"
	}
	item := func(id int32, kind int) string {
		return fmt.Sprintf(`{"SpecialToken": {"id": %s, "type_id": %d}}`, quote(t.text[id]), kind)
	}
	around := func(name string, kind int) []string {
		items := []string{fmt.Sprintf(`{"Sequence": {"id": %q, "type_id": %d}}`, name, kind)}
		if t.defaults&BOS != 0 && t.bos != None {
			items = slices.Insert(items, 0, item(t.bos, kind))
		}
		if t.defaults&EOS != 0 && t.eos != None {
			items = append(items, item(t.eos, kind))
		}
		return items
	}
	var specials []string
	for i, id := range []int32{t.bos, t.eos} {
		if t.defaults&(BOS<<i) != 0 && id != None && !(i == 1 && len(specials) > 0 && id == t.bos) {
			name := quote(t.text[id])
			specials = append(specials, fmt.Sprintf(`%s: {"id": %s, "ids": [%d], "tokens": [%s]}`, name, name, id, name))
		}
	}
	return fmt.Sprintf("{\"type\": \"TemplateProcessing\",\n    \"single\": [%s],\n    \"pair\": [%s],\n    \"special_tokens\": {%s}}",
		strings.Join(around("A", 0), ", "), strings.Join(append(around("A", 0), around("B", 1)...), ", "), strings.Join(specials, ", "))
}

// quote returns s as a JSON string, readable: <, > and & stay as they are.
func quote(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return json.RawMessage(`""`) // cannot be: a string always encodes
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
