package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/train/data"
)

// texts is what there is to train on: documents, or conversations.
type texts struct {
	documents     *data.Corpus
	conversations *data.Conversations
}

func scan(ctx context.Context, c data.Config) (x texts, err error) {
	if c.Format == data.Chat {
		x.conversations, err = data.ScanChat(ctx, c)
	} else {
		x.documents, err = data.Scan(c)
	}
	return x, err
}

// tokenize returns the texts as ids, from the cache of the run in dir or the one
// that c names. model is the folder whose chat template writes conversations; ""
// is the default one.
func (x texts) tokenize(ctx context.Context, c data.Config, tok *tokenizer.Tokenizer, sep int32, model, dir string, report func(done, total int64)) (*data.Tokens, error) {
	cache := c.Cache
	if cache == "" {
		cache = filepath.Join(dir, cacheDir)
	}
	if x.documents != nil {
		return x.documents.Tokenize(ctx, tok, sep, cache, report)
	}
	t, err := template(model)
	if err != nil {
		return nil, err
	}
	return x.conversations.Tokenize(ctx, chat.NewFormat(t, tok), tok, cache, report)
}

// templateFile is where a folder's chat template lies by itself.
const templateFile = "chat_template.jinja"

// template is the chat template of a model's folder, or the default one.
func template(model string) (*chat.Template, error) {
	if model == "" {
		return chat.Default(), nil
	}
	t, err := chat.Find(func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(model, name)) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	if t == nil {
		return chat.Default(), nil
	}
	return t, nil
}

// layout says how documents become windows.
func (c *Config) layout(tok *tokenizer.Tokenizer, sep int32) data.Layout {
	return data.Layout{Separator: sep, Join: c.JoinDocuments, Lengths: lengths(tok)}
}

// packing says how conversations become rows.
func (c *Config) packing(tok *tokenizer.Tokenizer, sep int32, window int) data.Packing {
	return data.Packing{Window: window, Long: c.Data.Long, Pad: sep, Lengths: lengths(tok)}
}

// source visits the training texts from a position on. note says what of them is
// left out, if anything is.
func (c *Config) source(tokens *data.Tokens, tok *tokenizer.Tokenizer, sep int32, at data.Position) (s data.Source, note string, err error) {
	if c.Data.Format != data.Chat {
		s, err = data.NewSampler(&tokens.Train, c.layout(tok, sep), c.Window, c.Seed, at)
		return s, "", err
	}
	k, err := data.NewChatSampler(&tokens.Train, c.packing(tok, sep, c.Window), c.Seed, at)
	if err != nil {
		return nil, "", err
	}
	if f := k.Fit(); f.Cut+f.Dropped > 0 {
		note = fmt.Sprintf("of %d conversations %d are cut to the window of %d tokens, and %d are left out", f.Whole+f.Cut+f.Dropped, f.Cut, c.Window, f.Dropped)
	}
	return k, note, nil
}

// held is the held-out texts in windows that overlap; conversations do not.
func (c *Config) held(tokens *data.Tokens, tok *tokenizer.Tokenizer, sep int32, window, overlap, limit int) (data.Held, error) {
	if c.Data.Format != data.Chat {
		return data.NewValidation(&tokens.Valid, c.layout(tok, sep), window, overlap, limit), nil
	}
	return data.NewChatValidation(&tokens.Valid, c.packing(tok, sep, window), limit)
}
