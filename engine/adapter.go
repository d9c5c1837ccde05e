package engine

import (
	"context"
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/runtime"
)

// Adapt lets the model run with a low-rank adapter beside its projections. It is
// called before anything is compiled. Names and shapes are checked by [Model.Declare].
func (m *Model) Adapt(a *adapter.Adapter) error {
	if m.adapter != nil {
		return fmt.Errorf("%s has an adapter already", m.Name)
	}
	m.adapter = a
	m.Weights = adapted{m.Weights, a.Source(m.Weights)}
	return nil
}

// adapted is a model's weights with those of an adapter.
type adapted struct {
	Weights
	all adapter.Source
}

func (a adapted) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	return a.all.Tensor(ctx, name)
}

// Forget implements runtime.Forgetter where the model's weights do.
func (a adapted) Forget(name string) {
	if f, ok := a.Weights.(runtime.Forgetter); ok {
		f.Forget(name)
	}
}
