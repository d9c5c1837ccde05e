package bitnet158

import (
	"context"
	"strings"
	"sync"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// Weights supplies a checkpoint's tensors under the names that the declared
// graph, or the infer pipeline, gives its params. It is what the runtime loads
// from.
type Weights struct {
	Model *checkpoint.Model
	// gammas are the scales of matrices whose codes were read: a scale comes
	// with the codes, and reading those twice would double the time to load.
	gammas *sync.Map
}

// NewWeights returns the weights of m.
func NewWeights(m *checkpoint.Model) Weights { return Weights{m, new(sync.Map)} }

// Packed reports whether the checkpoint stores the param as ternary codes. It
// is the argument of passes.LowerBitLinear.
func (w Weights) Packed(param string) bool {
	l, err := w.Model.Linear(param)
	return err == nil && l.Form == checkpoint.Ternary
}

// Tensor returns the named tensor; it may alias the mapped file.
func (w Weights) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return graph.Tensor{}, err
	}
	if base, ok := strings.CutSuffix(name, passes.CodesSuffix); ok {
		l, err := w.Model.Linear(base)
		if err != nil {
			return graph.Tensor{}, err
		}
		codes, gamma, err := l.Ternary()
		if err == nil {
			w.gammas.Store(base, gamma)
		}
		return codes, err
	}
	if base, ok := strings.CutSuffix(name, passes.GammaSuffix); ok {
		if gamma, ok := w.gammas.Load(base); ok {
			return graph.FromF32([]float32{gamma.(float32)}), nil
		}
		l, err := w.Model.Linear(base)
		if err != nil {
			return graph.Tensor{}, err
		}
		_, gamma, err := l.Ternary()
		return graph.FromF32([]float32{gamma}), err
	}
	return w.Model.Tensor(name)
}

// Forget tells the system that the pages of a param's file are not needed soon;
// the runtime calls it when the param has been packed.
func (w Weights) Forget(name string) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, passes.CodesSuffix), passes.GammaSuffix)
	w.Model.Forget(name)
}
