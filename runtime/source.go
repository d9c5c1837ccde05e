package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// Source supplies weights by the names that the graph declares. A tensor may
// alias memory that the source owns, such as a mapped file; that memory must
// stay valid and unchanged until the Program is closed.
type Source interface {
	Tensor(ctx context.Context, name string) (graph.Tensor, error)
}

// Forgetter is a Source that can be told that a tensor it gave is not read any
// more, or only a few of its rows, so that the pages of a mapped file stop counting
// as resident. Its content stays readable until the Program is closed.
type Forgetter interface {
	Forget(name string)
}

// ErrMissing is wrapped by sources' errors about tensors they do not have.
var ErrMissing = errors.New("no such tensor")

// Tensors is a Source of tensors in memory.
type Tensors map[string]graph.Tensor

// Tensor implements Source.
func (ts Tensors) Tensor(_ context.Context, name string) (graph.Tensor, error) {
	t, ok := ts[name]
	if !ok {
		return t, ErrMissing
	}
	return t, nil
}

// fetch takes the param that node n declares from src. bf16 and f16 widen to
// f32; nothing else converts.
func fetch(ctx context.Context, src Source, n *graph.Node) (graph.Tensor, error) {
	name, want := graph.SourceName(n), n.Out[0]
	if src == nil {
		return graph.Tensor{}, fmt.Errorf("%s %q: %w: no source of weights is given", n.Where(), name, ErrMissing)
	}
	t, err := src.Tensor(ctx, name)
	if err != nil {
		return t, fmt.Errorf("%s %q: %w", n.Where(), name, err)
	}
	dims, err := want.Shape.Eval(nil)
	if err != nil {
		return t, fmt.Errorf("%s %q: %w", n.Where(), name, err)
	}
	if count, err := graph.Count(t.Dims); err != nil || count*t.Elem.Size() != len(t.Data) {
		return t, fmt.Errorf("%s %q: the source gives %s with %d bytes", n.Where(), name, t.Type(), len(t.Data))
	}
	widens := want.Elem == graph.F32 && (t.Elem == graph.BF16 || t.Elem == graph.F16)
	switch {
	case !slices.Equal(t.Dims, dims):
		return t, fmt.Errorf("%s %q: the source gives %s, the model declares %s: check the configuration", n.Where(), name, t.Type(), want)
	case t.Elem == want.Elem:
		return t, nil
	case widens:
		return t.ToF32()
	}
	return t, fmt.Errorf("%s %q: the source gives %s, the model declares %s: declare the param as %s or convert the file", n.Where(), name, t.Type(), want, t.Elem)
}
