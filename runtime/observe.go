package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// Observation is one result of a kernel call, as it was when the call ended.
type Observation struct {
	Kernel string
	Node   *graph.Node // what was computed
	Result int         // which of the node's results
	Value  graph.Tensor
}

// Observe is Step with a look at every result, in the order of the calls. see
// must not keep the value's memory; when it returns an error the step ends there,
// with states half updated, and Observe returns that error. Results in a layout
// of their own are passed over. It allocates and is much slower than a step.
func (r *Run) Observe(ctx context.Context, see func(Observation) error, syms ...int) error {
	return r.together(ctx, syms, func(ctx context.Context) error { return r.observeOwn(ctx, see, syms) })
}

func (r *Run) observeOwn(ctx context.Context, see func(Observation) error, syms []int) error {
	b, err := r.prepare(ctx, syms)
	if err != nil {
		return fmt.Errorf("observed step of %s: %w", r.p.g.Name, err)
	}
	var mem []byte
	for i := range b.plan.calls {
		c := &b.plan.calls[i]
		if err := r.q.Launch(b.launches[i]); err != nil {
			return fmt.Errorf("observed step of %s: %w", r.p.g.Name, err)
		}
		for j, o := range c.call.Out {
			if o.Layout != "" || o.Len() == 0 {
				continue
			}
			if n := o.Bytes(); cap(mem) < n {
				mem = graph.NewTensor(graph.U8, n).Data
			}
			t := graph.Tensor{Elem: o.Elem, Dims: o.Dims, Data: mem[:o.Bytes()]}
			at := r.at(c.out[j], b.plan)
			if err := errors.Join(r.q.Read(t.Data, at.buf, at.off), r.q.Sync(ctx)); err != nil {
				return fmt.Errorf("observed step of %s: %w", r.p.g.Name, err)
			}
			if err := see(Observation{Kernel: callName(c), Node: c.step.n, Result: j, Value: t}); err != nil {
				return err
			}
		}
	}
	if err := r.q.Sync(ctx); err != nil {
		return fmt.Errorf("observed step of %s: %w", r.p.g.Name, err)
	}
	r.ran = true
	return nil
}
