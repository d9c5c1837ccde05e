package bitnet158

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
)

// shape is what the presets differ in.
type shape struct {
	vocab, hidden, ffn, layers, heads, kv, context int
	theta                                          float64
	elem                                           graph.DType
}

var presets = map[string]shape{
	// The published model: 2.08 G ternary weights, 328 M in the embedding.
	"2b4t": {128256, 2560, 6912, 30, 20, 5, 4096, 500000, graph.BF16},
	// Small models to train from scratch; vocab is replaced by the tokenizer's.
	"nano":  {512, 128, 384, 4, 4, 2, 256, 10000, graph.F32},
	"micro": {512, 256, 768, 4, 4, 4, 512, 10000, graph.F32},
	"mini":  {2048, 384, 1024, 6, 6, 2, 1024, 10000, graph.F32},
	"small": {8192, 512, 1536, 8, 8, 2, 1024, 10000, graph.F32},
	"base":  {8192, 768, 2048, 12, 12, 4, 2048, 10000, graph.F32},
}

// Presets lists the names that Preset knows.
func Presets() []string {
	var names []string
	for n := range presets {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Preset returns a named configuration: "2b4t" is the published model, the
// others are sizes to train from scratch.
func Preset(name string) (Config, error) {
	s, ok := presets[name]
	if !ok {
		return Config{}, fmt.Errorf("no preset %q; there are %s", name, strings.Join(Presets(), ", "))
	}
	return Config{
		ModelType: "bitnet", Name: name,
		Vocab: s.vocab, Hidden: s.hidden, FFN: s.ffn, Layers: s.layers,
		Heads: s.heads, KVHeads: s.kv, HeadDim: s.hidden / s.heads, Context: s.context,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: s.theta,
		BOS: -1, Pad: -1, Elem: s.elem, Form: checkpoint.Masters,
	}, nil
}
