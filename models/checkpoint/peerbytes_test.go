package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/gguf"
)

// peerModel has the shape that every ternary type of GGUF can hold, codes of a
// fixed sequence, an empty block, and scales that f16 holds.
func peerModel(t *testing.T) *Model {
	t.Helper()
	cfg := Config{
		ModelType: "bitnet", Vocab: 32, Hidden: 256, FFN: 512, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 64, Context: 64,
		Act: SiLU, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32, Form: Ternary,
	}
	x := uint32(1)
	next := func() uint32 {
		x = x*1664525 + 1013904223
		return x >> 16
	}
	var entries []Entry
	for i, s := range cfg.Specs() {
		if s.Linear {
			codes := graph.NewTensor(graph.Tern, s.Dims...)
			for j := range codes.I8() {
				codes.I8()[j] = int8(next()%3) - 1
			}
			clear(codes.I8()[256:512])
			entries = append(entries, EntryOf(s.Name, codes, float32(i+1)/256))
			continue
		}
		f := graph.NewTensor(graph.F32, s.Dims...)
		for j := range f.F32() {
			f.F32()[j] = float32(next()%64) / 64
		}
		entries = append(entries, EntryOf(s.Name, f, 0))
	}
	m, err := New(cfg, entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The digests are of files that other engines' quantisers made of this very
// model's f32 file: tq1_0, tq2_0, f16 and bf16 by llama.cpp and bitnet.cpp, i2_s
// by bitnet.cpp on x86 with one thread; docs/interop.md names the versions. They
// cover the projections in the model's order, of I2_S without the filler behind
// the scale.
func TestBytesOfOtherEngines(t *testing.T) {
	m := peerModel(t)
	for typ, want := range map[string]string{
		"i2_s":  "d4014a0cef8bc9d52e5518b3bf9553c69ce7d442df2ac6e1bfe136d0a41ae4ec",
		"tq1_0": "ad29a31854cc2f139e32844bc9fb13f7145bcc126096ea429c1f1749fd000596",
		"tq2_0": "84b55edcd46f70a5f8600f01dab275d5022db4819a8fb2e1c78121f64944a7bf",
		"f16":   "9c4c04505718060f68a8a98ab9751ce2aec4edd49fc8b4817f06ea54ba4d436c",
		"bf16":  "79e37805c9098a2a023e7cfae1fed892ecc6e58a4016bfd85eefddbd32ea5893",
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteGGUF(context.Background(), m, path, GGUFOptions{Type: typ}); err != nil {
			t.Fatal(err)
		}
		f := open(t, path).src.(*ggufSource)
		sum := sha256.New()
		for _, s := range m.Specs() {
			if !s.Linear {
				continue
			}
			tensor, err := f.tensor(s)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := f.content.Bytes(tensor)
			if err != nil {
				t.Fatal(err)
			}
			if tensor.Type == gguf.I2_S {
				raw = raw[:len(raw)-len(gguf.TailI2S(raw))]
			}
			sum.Write(raw)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			t.Errorf("%s: digest %s, other engines' %s", typ, got, want)
		}
	}
}
