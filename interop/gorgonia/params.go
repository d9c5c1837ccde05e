package gorgonia

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/runtime"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// Params are the weights of an imported graph by their nodes' names, in
// Gorgonia's own memory. They are a [runtime.Source].
type Params map[string]graph.Tensor

// Tensor implements [runtime.Source].
func (p Params) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	return runtime.Tensors(p).Tensor(ctx, name)
}

// Set copies t into the weight's memory, where Gorgonia's graph sees it.
func (p Params) Set(name string, t graph.Tensor) error {
	w, ok := p[name]
	if !ok {
		return fmt.Errorf("param %q: %w", name, runtime.ErrMissing)
	}
	if !w.Type().Equal(t.Type()) || len(t.Data) != len(w.Data) {
		return fmt.Errorf("param %q is %s, got %s", name, w.Type(), t.Type())
	}
	copy(w.Data, t.Data)
	return nil
}

// fromValue is FromDense for any of Gorgonia's values.
func fromValue(v G.Value) (graph.Tensor, error) {
	switch v := v.(type) {
	case *tensor.Dense:
		return FromDense(v)
	case *G.F32:
		// A float32 on the heap: the same memory.
		return graph.Tensor{Elem: graph.F32, Dims: []int{}, Data: unsafe.Slice((*byte)(unsafe.Pointer(v)), 4)}, nil
	}
	return graph.Tensor{}, fmt.Errorf("a %v value (%T) has no counterpart; use float32", v.Dtype(), v)
}
