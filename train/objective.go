package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/runtime"
)

// Objective is what an engine trains. The loss of [Loss] alone trains all params
// of a model; adapters and distillation need more.
type Objective struct {
	// Step has the scalar that is lowered as its first output. A loss that is
	// made of parts has them behind it, the cross-entropy first.
	Step *graph.Graph
	// Eval is the loss that validation measures; nil: Step.
	Eval *graph.Graph
	// Trained reports whether a param is trained; nil: all are. Params that are
	// not keep what Frozen supplies.
	Trained func(param string) bool
	Frozen  runtime.Source
}

func (o *Objective) eval() *graph.Graph {
	if o.Eval != nil {
		return o.Eval
	}
	return o.Step
}

// params are the trained ones, in the order of their declaration.
func (o *Objective) params() []*graph.Node {
	var list []*graph.Node
	for _, p := range o.Step.Params() {
		if o.Trained == nil || o.Trained(graph.SourceName(p)) {
			list = append(list, p)
		}
	}
	return list
}

// Engine compiles the training step for batches of exactly tokens tokens, over
// all micro-batches and ranks, and loads the params that are not trained. Weights
// and moments are zero until SetState.
func (o Objective) Engine(ctx context.Context, r Recipe, dev devices.Device, tokens int) (*Engine, error) {
	r.Quantization.Forward = r.Quantization.forwardOn(dev)
	if err := r.supported(dev); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if tokens%r.Scale.parts() != 0 {
		return nil, fmt.Errorf("train: %d tokens cannot be cut into %d micro-batches", tokens, r.Scale.parts())
	}
	e := &Engine{obj: o, recipe: r, tokens: tokens / r.Scale.parts()}
	var err error
	if e.dev, err = r.Scale.join(dev); err != nil {
		return nil, err
	}
	if e.progs, err = compile(o, r, e.dev, e.tokens); err != nil {
		return nil, r.refused(err)
	}
	if o.Frozen != nil {
		err = e.progs.step.Load(ctx, o.Frozen)
	}
	if err == nil {
		err = e.start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("train: %w", err), e.Close())
	}
	return e, nil
}

// overlay supplies trained weights, and the rest from a source.
type overlay struct {
	trained runtime.Tensors
	rest    runtime.Source
}

func (o overlay) Tensor(ctx context.Context, name string) (graph.Tensor, error) {
	if _, ok := o.trained[name]; ok || o.rest == nil {
		return o.trained.Tensor(ctx, name)
	}
	return o.rest.Tensor(ctx, name)
}
