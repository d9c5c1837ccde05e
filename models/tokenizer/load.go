package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	tokenizerFile = "tokenizer.json"
	tiktokenFile  = "tokenizer.model"
	configFile    = "tokenizer_config.json"

	// largestFile bounds what Load reads; the largest real tokenizer.json
	// have about 35 MB.
	largestFile = 1 << 30
)

// Load reads a tokenizer from a file or a folder. A file may be a tokenizer.json
// or Llama 3's tiktoken rank file. A folder is searched for tokenizer.json, then
// for tokenizer.model; its tokenizer_config.json, if any, names the tokens that
// begin and end a text. GGUF files carry their vocabulary themselves: see New.
func Load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if !info.IsDir() {
		return loadFile(path)
	}
	for _, name := range []string{tokenizerFile, tiktokenFile} {
		t, err := loadFile(filepath.Join(path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := t.configure(filepath.Join(path, configFile)); err != nil {
			return nil, err
		}
		return t, nil
	}
	return nil, fmt.Errorf("tokenizer: %s: the folder has neither %s nor %s", path, tokenizerFile, tiktokenFile)
}

func loadFile(path string) (*Tokenizer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	// A rank file's first byte is of the base64 alphabet; JSON's is a brace, a
	// SentencePiece model's the tag of its first field.
	start := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(start) == 0:
		return nil, fmt.Errorf("tokenizer: %s: the file is empty", path)
	case start[0] == '{':
		return ParseJSON(path, data)
	case bytes.HasPrefix(data, []byte("GGUF")):
		return nil, fmt.Errorf("tokenizer: %s: this is a GGUF file; load it as a model, its tokenizer comes with it", path)
	case data[0] == '\n' || data[0] == 0x08:
		return nil, fmt.Errorf("tokenizer: %s: this looks like a SentencePiece model, which is not read; use tokenizer.json or the model's GGUF file", path)
	}
	return parseLlama3(path, data)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if info.Size() > largestFile {
		return nil, fmt.Errorf("tokenizer: %s: %d bytes is too large for a tokenizer", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return data, nil
}

// configure takes the names of the begin and end tokens from a
// tokenizer_config.json; a missing file changes nothing.
func (t *Tokenizer) configure(path string) error {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var config struct {
		BOS *tokenName `json:"bos_token"`
		EOS *tokenName `json:"eos_token"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", path, place(data, err))
	}
	for _, c := range []struct {
		key  string
		name *tokenName
		id   *int32
	}{{"bos_token", config.BOS, &t.bos}, {"eos_token", config.EOS, &t.eos}} {
		if c.name == nil || *c.name == "" {
			continue
		}
		id, ok := t.named[string(*c.name)]
		if !ok {
			return fmt.Errorf("tokenizer: %s: %s %q is not an added token of %s", path, c.key, *c.name, t.name)
		}
		*c.id = id
	}
	return nil
}

// tokenName is a string, or an object with the string as its content.
type tokenName string

// UnmarshalJSON reads either form.
func (n *tokenName) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var object struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(data, &object)
		*n = tokenName(object.Content)
		return err
	}
	return json.Unmarshal(data, (*string)(n))
}
