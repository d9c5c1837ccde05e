package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// state finds a state's memory and extents.
func (r *Run) state(name string) (operandAt, graph.DType, error) {
	if r.closed {
		return operandAt{}, 0, errors.New("the run is closed")
	}
	for _, v := range r.p.states {
		if graph.SourceName(r.p.vals[v].v.Node()) == name {
			o, err := r.p.operandAt(v, r.p.fixed)
			return o, r.p.vals[v].v.Type().Elem, err
		}
	}
	return operandAt{}, 0, fmt.Errorf("graph %s has no state %q", r.p.g.Name, name)
}

// ReadState returns a copy of a state's present value.
func (r *Run) ReadState(ctx context.Context, name string) (graph.Tensor, error) {
	o, elem, err := r.state(name)
	if err != nil {
		return graph.Tensor{}, err
	}
	t := graph.NewTensor(elem, o.dims...)
	return t, r.ReadStateTo(ctx, name, t)
}

// ReadStateTo is ReadState into the memory of a tensor of the state's type.
func (r *Run) ReadStateTo(ctx context.Context, name string, t graph.Tensor) error {
	o, elem, err := r.state(name)
	if err != nil {
		return err
	}
	want := graph.Type{Elem: elem, Shape: graph.Dims(o.dims...)}
	if !t.Type().Equal(want) || len(t.Data) != o.bytes {
		return fmt.Errorf("state %q is %s, got memory for %s", name, want, t.Type())
	}
	if err := errors.Join(r.q.Read(t.Data, r.states[o.at.val].buf, 0), r.q.Sync(ctx)); err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	return nil
}

// WriteState sets a state, which must have exactly the declared type.
func (r *Run) WriteState(ctx context.Context, name string, t graph.Tensor) error {
	o, elem, err := r.state(name)
	if err != nil {
		return err
	}
	want := graph.Type{Elem: elem, Shape: graph.Dims(o.dims...)}
	if !t.Type().Equal(want) || len(t.Data) != o.bytes {
		return fmt.Errorf("state %q is %s, got %s", name, want, t.Type())
	}
	if err := errors.Join(r.q.Write(r.states[o.at.val].buf, 0, t.Data), r.q.Sync(ctx)); err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	return nil
}
