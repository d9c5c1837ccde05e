package checkpoint

import (
	"fmt"

	"github.com/trit-ml/trit/internal/gguf"
)

// The token types of GGUF that padding and defaults need.
const (
	tokenNormal = 1
	tokenUnused = 5
)

// vocabMetadata returns the tokenizer's keys, padded to the model's vocabulary
// as engines demand. Without a vocabulary the file says so; engines then take
// token ids only.
func vocabMetadata(v *Vocab, c *Config) ([]gguf.KV, error) {
	const p = "tokenizer.ggml."
	var kv []gguf.KV
	put := func(key string, val gguf.Value) { kv = append(kv, gguf.KV{Key: key, Value: val}) }
	id := func(name string, n int) {
		if n >= 0 {
			put(p+name+"_token_id", gguf.Uint32(uint32(n)))
		}
	}
	if v == nil {
		put(p+"model", gguf.Text("no_vocab"))
		id("bos", c.BOS)
		if len(c.EOS) > 0 {
			id("eos", c.EOS[0])
		}
		id("padding", c.Pad)
		return kv, nil
	}
	n := len(v.Tokens)
	if n > c.Vocab {
		return nil, fmt.Errorf("the vocabulary has %d tokens, the embedding %d", n, c.Vocab)
	}
	if v.Scores != nil && len(v.Scores) != n || v.Types != nil && len(v.Types) != n {
		return nil, fmt.Errorf("the vocabulary has %d tokens, %d scores and %d types", n, len(v.Scores), len(v.Types))
	}
	tokens, scores, types := make([]string, c.Vocab), make([]float32, c.Vocab), make([]int32, c.Vocab)
	copy(tokens, v.Tokens)
	copy(scores, v.Scores)
	copy(types, v.Types)
	for i := range tokens {
		if i >= n {
			tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), tokenUnused
		} else if v.Types == nil {
			types[i] = tokenNormal
		}
	}
	put(p+"model", gguf.Text(v.Model))
	if v.Pre != "" {
		put(p+"pre", gguf.Text(v.Pre))
	}
	put(p+"tokens", gguf.Texts(tokens))
	if v.Scores != nil {
		put(p+"scores", gguf.Float32s(scores))
	}
	put(p+"token_type", gguf.Int32s(types))
	if v.Merges != nil {
		put(p+"merges", gguf.Texts(v.Merges))
	}
	id("bos", v.BOS)
	id("eos", v.EOS)
	id("eot", v.EOT)
	id("unknown", v.Unknown)
	id("padding", v.Pad)
	flag := func(name string, b *bool) {
		if b != nil {
			put(p+name, gguf.Bool(*b))
		}
	}
	flag("add_bos_token", v.AddBOS)
	flag("add_eos_token", v.AddEOS)
	flag("add_space_prefix", v.AddSpacePrefix)
	if v.ChatTemplate != "" {
		put("tokenizer.chat_template", gguf.Text(v.ChatTemplate))
	}
	return kv, nil
}
