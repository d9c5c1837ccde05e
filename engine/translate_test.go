package engine

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
)

// A GGUF made of a folder has what other engines ask its metadata for: the
// folder's chat template, wherever it stands, and the tokens that begin and end
// a text, which a tokenizer.json need not name. A folder made of that GGUF has
// the template again.
func TestTranslate(t *testing.T) {
	const template = "{% for m in messages %}{{ m.content }}{% endfor %}"
	for name, files := range map[string]map[string][]byte{
		"chat_template.jinja":   {"chat_template.jinja": []byte(template)},
		"tokenizer_config.json": {"tokenizer_config.json": []byte(`{"chat_template": "` + template + `"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.NewBytes("<pad>", "<turn>")
			if err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			if err := tok.WriteJSON(&buf); err != nil {
				t.Fatal(err)
			}
			files["tokenizer.json"] = buf.Bytes()
			ctx, tmp := context.Background(), t.TempDir()
			first := filepath.Join(tmp, "first")
			if err := checkpoint.WriteFolder(ctx, tinyModel(t), first, checkpoint.FolderOptions{Form: checkpoint.Ternary, Files: files}); err != nil {
				t.Fatal(err)
			}
			src := open(t, first)
			if src.Tokenizer.BOS() != tokenizer.None || src.Tokenizer.EOS() != tokenizer.None {
				t.Fatal("the test wants a tokenizer that names no tokens for begin and end")
			}

			file := filepath.Join(tmp, "m.gguf")
			convert(t, src, file, "i2_s")
			g := open(t, file)
			v := g.Checkpoint.Vocab()
			if v.ChatTemplate != template || v.BOS != 257 || v.EOS != 256 || v.AddBOS == nil || *v.AddBOS {
				t.Errorf("template %q, bos %d, eos %d, add bos %v", v.ChatTemplate, v.BOS, v.EOS, v.AddBOS)
			}
			if a, b := src.begin(), g.begin(); !slices.Equal(a, []int32{257}) || !slices.Equal(a, b) {
				t.Errorf("a text begins with %v in the folder, with %v in the GGUF", a, b)
			}
			if len(v.Tokens) != 260 || v.Types[259] != int32(tokenizer.Unused) {
				t.Errorf("%d tokens of types %v for 260 rows", len(v.Tokens), v.Types[256:])
			}
			const text = "né <turn>\n"
			want := src.Tokenizer.Encode(nil, text, src.Tokenizer.Defaults())
			if got := g.Tokenizer.Encode(nil, text, g.Tokenizer.Defaults()); !slices.Equal(got, want) {
				t.Errorf("encodes %v, before %v", got, want)
			}

			back := filepath.Join(tmp, "back")
			convert(t, g, back, "offline")
			again := open(t, back)
			if data, err := again.Checkpoint.File("chat_template.jinja"); err != nil || string(data) != template {
				t.Errorf("template %q, %v", data, err)
			}
			if got := again.Tokenizer.Encode(nil, text, again.Tokenizer.Defaults()); !slices.Equal(got, want) {
				t.Errorf("the folder encodes %v, before %v", got, want)
			}
		})
	}
}

func convert(t *testing.T, m *Model, dst, to string) {
	t.Helper()
	o := checkpoint.ConvertOptions{To: to, Verify: true}
	if err := m.Translate(&o); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.Convert(context.Background(), m.Checkpoint, dst, o); err != nil {
		t.Fatal(err)
	}
}

func tinyModel(t *testing.T) *checkpoint.Model {
	t.Helper()
	cfg := checkpoint.Config{
		ModelType: "bitnet", Vocab: 260, Hidden: 128, FFN: 128, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 64, Context: 32,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000,
		BOS: 257, EOS: []int{256}, Pad: -1, Elem: graph.F32, Form: checkpoint.Ternary,
	}
	var entries []checkpoint.Entry
	for _, s := range cfg.Specs() {
		x := graph.NewTensor(map[bool]graph.DType{true: graph.Tern, false: graph.F32}[s.Linear], s.Dims...)
		for i := range x.Len() {
			if s.Linear {
				x.I8()[i] = int8(i%3) - 1
			} else {
				x.F32()[i] = float32(i%7) / 8
			}
		}
		entries = append(entries, checkpoint.EntryOf(s.Name, x, 0.5))
	}
	m, err := checkpoint.New(cfg, entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
