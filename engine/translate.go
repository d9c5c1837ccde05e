package engine

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
)

// Translate adds tokenizer and chat template to a conversion in the shape that
// the destination wants: metadata for a GGUF, tokenizer.json and
// chat_template.jinja for a folder.
func (m *Model) Translate(o *checkpoint.ConvertOptions) error {
	if m.Tokenizer == nil {
		return nil
	}
	folder := o.To == "online" || o.To == "offline"
	fromGGUF := m.Checkpoint.Vocab() != nil
	switch {
	case folder && fromGGUF:
		var buf bytes.Buffer
		if err := m.Tokenizer.WriteJSON(&buf); err != nil {
			return fmt.Errorf("%s: tokenizer.json cannot be written: %w", m.Name, err)
		}
		o.Files = map[string][]byte{"tokenizer.json": buf.Bytes()}
		if t := m.Checkpoint.Vocab().ChatTemplate; t != "" {
			o.Files["chat_template.jinja"] = []byte(t)
		}
	case !folder && !fromGGUF:
		v, err := m.Tokenizer.Vocab()
		if err != nil {
			return err
		}
		o.Vocab = checkpointVocab(v, m.Config)
		if _, o.Vocab.ChatTemplate, err = chat.Source(m.Checkpoint.File); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func checkpointVocab(v tokenizer.Vocab, cfg checkpoint.Config) *checkpoint.Vocab {
	c := &checkpoint.Vocab{
		Model: v.Model, Pre: v.Pre, Tokens: v.Tokens, Scores: v.Scores, Merges: v.Merges,
		BOS: int(v.BOS), EOS: int(v.EOS), EOT: -1, Unknown: int(v.UNK), Pad: cfg.Pad,
		AddBOS: v.AddBOS, AddEOS: v.AddEOS, AddSpacePrefix: v.AddSpacePrefix,
	}
	if v.Types != nil {
		c.Types = make([]int32, len(v.Types))
		for i, k := range v.Types {
			c.Types[i] = int32(k)
		}
	}
	// A GGUF names one token for each row of the embedding.
	for i := len(c.Tokens); i < cfg.Vocab; i++ {
		c.Tokens = append(c.Tokens, fmt.Sprintf("<|unused_%d|>", i))
		if c.Types != nil {
			c.Types = append(c.Types, int32(tokenizer.Unused))
		}
		if c.Scores != nil {
			c.Scores = append(c.Scores, 0)
		}
	}
	// A tokenizer.json need not say which tokens begin and end a text;
	// config.json then does. Engines that read neither take ids of their own.
	if c.BOS < 0 && cfg.BOS < len(c.Tokens) {
		c.BOS = cfg.BOS
	}
	if c.EOS < 0 && len(cfg.EOS) > 0 && cfg.EOS[0] < len(c.Tokens) {
		c.EOS = cfg.EOS[0]
	}
	for i, t := range c.Tokens {
		if strings.EqualFold(t, "<|eot_id|>") {
			c.EOT = i
		}
	}
	return c
}
