package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Find reads the template of a Hugging Face folder, as [Source] does, and parses
// it. It returns nil if the folder has none.
//
// GGUF files have theirs under tokenizer.chat_template; pass it to [Parse].
func Find(read func(name string) ([]byte, error)) (*Template, error) {
	name, source, err := Source(read)
	if err != nil || source == "" {
		return nil, err
	}
	return Parse(name, source)
}

// Source returns the text of a Hugging Face folder's template, and where it was
// found: in chat_template.jinja, or under the key chat_template of
// tokenizer_config.json, where the template called default is taken if there
// are several. The text is empty if the folder has none. read returns a file by
// its name; its error wraps [fs.ErrNotExist] if there is none.
func Source(read func(name string) ([]byte, error)) (name, source string, err error) {
	const own, config = "chat_template.jinja", "tokenizer_config.json"
	data, err := read(own)
	if err == nil {
		return own, string(data), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	data, err = read(config)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	if source, err = fromConfig(data); err != nil {
		return "", "", fmt.Errorf("chat: %s: %w", config, err)
	}
	return "chat_template of " + config, source, nil
}

func fromConfig(data []byte) (string, error) {
	var c struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return "", err
	}
	if len(c.Template) == 0 || string(c.Template) == "null" {
		return "", nil
	}
	var one string
	if json.Unmarshal(c.Template, &one) == nil {
		return one, nil
	}
	var several []struct{ Name, Template string }
	if json.Unmarshal(c.Template, &several) != nil {
		return "", errors.New("chat_template is neither text nor a list of named templates")
	}
	for _, t := range several {
		if t.Name == "default" {
			return t.Template, nil
		}
	}
	return "", fmt.Errorf("chat_template has %d templates and none called default", len(several))
}
