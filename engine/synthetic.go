package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// Synthetic returns a model of the given configuration with random weights in
// ternary form, for measuring speed where no checkpoint is at hand. Each tensor
// depends on the seed and its name alone.
func Synthetic(cfg checkpoint.Config, seed uint64) *Model {
	w := &synthetic{seed: seed, dims: map[string]checkpoint.Spec{}, elem: cfg.Elem}
	for _, s := range cfg.Specs() {
		w.dims[s.Name] = s
	}
	name := cfg.Name
	if name == "" {
		name = "model"
	}
	return &Model{Name: "synthetic " + name, Config: cfg, Weights: w}
}

type synthetic struct {
	seed uint64
	dims map[string]checkpoint.Spec
	elem graph.DType
}

// fourCodes are the digits of a byte in base 3: nearly uniform.
var fourCodes = func() (table [256][4]int8) {
	for b := range table {
		for i, x := 0, b; i < 4; i, x = i+1, x/3 {
			table[b][i] = int8(x%3) - 1
		}
	}
	return table
}()

func (w *synthetic) Packed(param string) bool { return w.dims[param].Linear }

func (w *synthetic) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return graph.Tensor{}, err
	}
	base := strings.TrimSuffix(strings.TrimSuffix(name, passes.CodesSuffix), passes.GammaSuffix)
	s, ok := w.dims[base]
	if !ok {
		return graph.Tensor{}, fmt.Errorf("the model has no tensor %q", base)
	}
	h := w.seed
	for _, c := range []byte(base) {
		h = (h ^ uint64(c)) * 1099511628211 // FNV-1a
	}
	r := rand.NewPCG(h, w.seed)
	switch {
	case strings.HasSuffix(name, passes.GammaSuffix):
		return graph.FromF32([]float32{0.02}), nil
	case strings.HasSuffix(name, passes.CodesSuffix):
		t := graph.NewTensor(graph.Tern, s.Dims...)
		codes := t.I8()
		for i := 0; i < len(codes); {
			for x, j := r.Uint64(), 0; j < 8; x, j = x>>8, j+1 {
				i += copy(codes[i:], fourCodes[x&255][:])
			}
		}
		return t, nil
	case len(s.Dims) == 1:
		t := graph.NewTensor(graph.F32, s.Dims...)
		for i := range t.F32() {
			t.F32()[i] = 1
		}
		return t, nil
	}
	// Uniform in ±0.04 is enough to tell tokens apart.
	t := graph.NewTensor(w.elem, s.Dims...)
	var bits uint64
	for i := range t.Len() {
		if i%4 == 0 {
			bits = r.Uint64()
		}
		v := (float32(bits&0xffff)/(1<<16) - 0.5) * 0.08
		bits >>= 16
		switch w.elem {
		case graph.BF16:
			t.U16()[i] = graph.F32ToBF16(v)
		case graph.F16:
			t.U16()[i] = graph.F32ToF16(v)
		default:
			t.F32()[i] = v
		}
	}
	return t, nil
}
