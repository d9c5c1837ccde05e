// Package engine joins the pieces that serve one model: a checkpoint, its
// tokenizer, the compiled program and the sessions that generate text.
package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// Weights supplies a model's tensors, and says which projections come as
// ternary codes.
type Weights interface {
	runtime.Source
	Packed(param string) bool
}

// Model is what there is to run: a configuration, weights and a tokenizer.
type Model struct {
	Name       string
	Config     checkpoint.Config
	Weights    Weights
	Tokenizer  *tokenizer.Tokenizer // nil if there is none; token ids still work
	Checkpoint *checkpoint.Model    // nil if the weights are synthetic

	adapter *adapter.Adapter // nil if there is none
}

// Open opens a checkpoint folder or file.
func Open(path string, opts ...checkpoint.Option) (*Model, error) {
	c, err := checkpoint.Open(path, opts...)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(filepath.Clean(path))
	return newModel(name, path, c)
}

// OpenFS opens a checkpoint folder at the root of a file system, such as an
// embedded one.
func OpenFS(name string, fsys fs.FS) (*Model, error) {
	c, err := checkpoint.OpenFS(fsys)
	if err != nil {
		return nil, err
	}
	return newModel(name, name, c)
}

func newModel(name, path string, c *checkpoint.Model) (*Model, error) {
	tok, err := openTokenizer(path, c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if tok != nil && tok.VocabSize() > c.Config().Vocab {
		return nil, errors.Join(fmt.Errorf("%s: the tokenizer has %d tokens, the model only %d", path, tok.VocabSize(), c.Config().Vocab), c.Close())
	}
	return &Model{Name: name, Config: c.Config(), Weights: bitnet158.NewWeights(c), Tokenizer: tok, Checkpoint: c}, nil
}

// openTokenizer finds the checkpoint's tokenizer: GGUF metadata, tokenizer.json
// or a tiktoken file. It returns nil if there is none.
func openTokenizer(path string, c *checkpoint.Model) (*tokenizer.Tokenizer, error) {
	if v := c.Vocab(); v != nil {
		t, err := tokenizer.New(path, ggufVocab(v))
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	data, err := c.File("tokenizer.json")
	switch {
	case err == nil:
		return tokenizer.ParseJSON(filepath.Join(path, "tokenizer.json"), data)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := c.File("tokenizer.model"); err == nil {
		return tokenizer.Load(filepath.Join(path, "tokenizer.model"))
	}
	return nil, nil
}

func ggufVocab(v *checkpoint.Vocab) tokenizer.Vocab {
	t := tokenizer.Vocab{
		Model: v.Model, Pre: v.Pre, Tokens: v.Tokens, Scores: v.Scores, Merges: v.Merges,
		BOS: int32(v.BOS), EOS: int32(v.EOS), UNK: int32(v.Unknown),
		AddBOS: v.AddBOS, AddEOS: v.AddEOS, AddSpacePrefix: v.AddSpacePrefix,
	}
	if v.Types != nil {
		t.Types = make([]tokenizer.Kind, len(v.Types))
		for i, k := range v.Types {
			t.Types[i] = tokenizer.Kind(k)
		}
	}
	return t
}

// Close releases the checkpoint's files.
func (m *Model) Close() error {
	if m.Checkpoint == nil {
		return nil
	}
	return m.Checkpoint.Close()
}

// Declare returns the model's graph as declared, for steps of at most maxTokens
// tokens.
func (m *Model) Declare(maxTokens int) (*graph.Graph, error) {
	g, err := bitnet158.Forward(m.Config, maxTokens)
	if err != nil || m.adapter == nil {
		return g, err
	}
	return passes.Pipeline{m.adapter.Pass()}.Run(g, nil)
}

// Stops returns the ids after which generation ends.
func (m *Model) Stops() []int32 {
	var stops []int32
	seen := map[int32]bool{}
	add := func(id int32) {
		if id >= 0 && !seen[id] {
			seen[id] = true
			stops = append(stops, id)
		}
	}
	for _, id := range m.Config.EOS {
		add(int32(id))
	}
	if m.Tokenizer != nil {
		for _, id := range m.Tokenizer.Stops() {
			add(id)
		}
	}
	return stops
}

// Shape bounds what a compiled model can do at once; zero fields take the
// defaults of DefaultShape.
type Shape struct {
	Context int         // most positions of one sequence
	Seqs    int         // most sequences at once
	Chunk   int         // most tokens in one step; by default 512, on an accelerator 2048
	Block   int         // positions in a cache block
	Cache   graph.DType // element type of the cache; CacheElem by default
	Guess   int         // most tokens guessed ahead for a sequence, where that pays; see runtime.Speculation
	Whole   bool        // always multiply the whole output head, as devices without a kernel for less do
}

// DefaultShape serves one sequence of the model's own context.
func (m *Model) DefaultShape() Shape {
	ctx := m.Config.Context
	if ctx < 1 {
		ctx = 2048
	}
	return Shape{Context: ctx, Seqs: 1, Chunk: hostChunk, Block: 32, Cache: graph.F32}
}

// Most tokens of a step by default. A processor works as fast on 512 tokens as on
// more; an accelerator needs about 2048 to be busy with every kernel of a step.
const (
	hostChunk        = 512
	acceleratorChunk = 2048
)

// chunkOn is the default for dev.
func chunkOn(dev devices.Device) int {
	if _, ok := dev.(devices.Accelerator); ok {
		return acceleratorChunk
	}
	return hostChunk
}

// CacheElem is the default element type of a cache on dev: f16 on an accelerator,
// whose tensor cores read it, f32 elsewhere.
func CacheElem(dev devices.Device) graph.DType {
	if _, ok := dev.(devices.Accelerator); ok {
		return graph.F16
	}
	return graph.F32
}

func (s Shape) or(d Shape) Shape {
	pick := func(a, b int) int {
		if a > 0 {
			return a
		}
		return b
	}
	s.Context, s.Seqs = pick(s.Context, d.Context), pick(s.Seqs, d.Seqs)
	s.Chunk, s.Block = pick(s.Chunk, d.Chunk), pick(s.Block, d.Block)
	s.Chunk = max(min(s.Chunk, s.Context*s.Seqs), s.Seqs)
	if s.Cache == graph.InvalidDType {
		s.Cache = d.Cache
	}
	return s
}

// InferPipeline returns the infer pipeline for the model in the given shape, for
// any device.
func (m *Model) InferPipeline(s Shape) passes.Pipeline {
	return m.inferPipeline(s, func(*graph.OpDef) bool { return false }, collective.Attrs{Ranks: 1})
}

// inferPipeline is InferPipeline for a device that has kernels for the ops that
// claims reports, and for a rank.
func (m *Model) inferPipeline(s Shape, claims func(*graph.OpDef) bool, rank collective.Attrs) passes.Pipeline {
	s = s.or(m.DefaultShape())
	screen := passes.Screen{Tops: s.Seqs * (1 + s.Guess)}.For(claims)
	if s.Whole {
		screen.Tops = 0
	}
	return passes.Infer(passes.InferOptions{
		Cache:   passes.NewCache(s.Seqs, s.Context, s.Block, s.Cache),
		MaxRows: s.Chunk,
		Packed:  m.Weights.Packed,
		Shard:   rank,
		Screen:  screen,
		Fused:   passes.FusedFor(claims),
	})
}
