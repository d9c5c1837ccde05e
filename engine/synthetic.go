package engine

import (
	"math/rand/v2"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
)

// syntheticGamma is the scale of every synthetic matrix.
const syntheticGamma = 0.02

// Synthetic returns a model of the given configuration with random weights in
// ternary form, for measuring speed where no checkpoint is at hand. Tensors are
// made when they are read; each depends on the seed and its name alone.
func Synthetic(cfg checkpoint.Config, seed uint64) (*Model, error) {
	cfg.Form = checkpoint.Ternary
	var entries []checkpoint.Entry
	for _, s := range cfg.Specs() {
		e := checkpoint.Entry{Name: s.Name, Elem: cfg.Elem, Load: func() (graph.Tensor, error) { return syntheticTensor(s, cfg.Elem, seed), nil }}
		switch {
		case s.Linear:
			e.Elem, e.Gamma = graph.Tern, syntheticGamma
		case len(s.Dims) == 1:
			e.Elem = graph.F32
		}
		entries = append(entries, e)
	}
	c, err := checkpoint.New(cfg, entries)
	if err != nil {
		return nil, err
	}
	name := cfg.Name
	if name == "" {
		name = "model"
	}
	return &Model{Name: "synthetic " + name, Config: cfg, Weights: bitnet158.NewWeights(c), Checkpoint: c}, nil
}

func syntheticTensor(s checkpoint.Spec, elem graph.DType, seed uint64) graph.Tensor {
	h := seed
	for _, c := range []byte(s.Name) {
		h = (h ^ uint64(c)) * 1099511628211 // FNV-1a
	}
	r := rand.NewPCG(h, seed)
	switch {
	case s.Linear:
		t := graph.NewTensor(graph.Tern, s.Dims...)
		codes := t.I8()
		for i := 0; i < len(codes); {
			// The base 3 digits of a 64-bit number: 40 of them, nearly uniform.
			for x, j := r.Uint64(), 0; j < 40 && i < len(codes); i, j = i+1, j+1 {
				codes[i] = int8(x%3) - 1
				x /= 3
			}
		}
		return t
	case len(s.Dims) == 1:
		t := graph.NewTensor(graph.F32, s.Dims...)
		for i := range t.F32() {
			t.F32()[i] = 1
		}
		return t
	}
	// Uniform in ±0.04 is enough to tell tokens apart.
	t := graph.NewTensor(elem, s.Dims...)
	for i := range t.Len() {
		v := (float32(r.Uint64()>>40)/(1<<24) - 0.5) * 0.08
		switch elem {
		case graph.BF16:
			t.U16()[i] = graph.F32ToBF16(v)
		case graph.F16:
			t.U16()[i] = graph.F32ToF16(v)
		default:
			t.F32()[i] = v
		}
	}
	return t
}
