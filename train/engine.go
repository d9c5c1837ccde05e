package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train/data"
)

// Engine is a model in training on one device: the compiled step with params
// and moments as its states. [Trainer] drives one; it serves on its own where
// the loop is the caller's. It is used by one goroutine at a time.
type Engine struct {
	loss   *graph.Graph
	recipe Recipe
	dev    devices.Device
	tokens int

	prog  *runtime.Program
	run   *runtime.Run
	in    inputs
	hyper [4]float32
	hin   runtime.Input
	warm  [1]float32    // λ
	win   runtime.Input // if quantization warms up
	steps int           // updates done, which the moments' correction depends on

	eval *Evaluator // compiled when first needed
}

// inputs are the handles of a step's inputs.
type inputs struct{ tokens, seq, pos, targets runtime.Input }

func findInputs(p *runtime.Program) (in inputs, err error) {
	for _, f := range []struct {
		name string
		to   *runtime.Input
	}{{layer.TokensInput, &in.tokens}, {layer.SeqInput, &in.seq}, {layer.PosInput, &in.pos}, {TargetsInput, &in.targets}} {
		h, err := p.Input(f.name)
		if err != nil {
			return in, fmt.Errorf("the model does not use %s: %w", f.name, err)
		}
		*f.to = h
	}
	return in, nil
}

func (in inputs) set(r *runtime.Run, b *data.Batch) {
	r.SetI32(in.tokens, b.Tokens)
	r.SetI32(in.seq, b.Seq)
	r.SetI32(in.pos, b.Pos)
	r.SetI32(in.targets, b.Targets)
}

// NewEngine compiles the training step of a loss (see [Loss]) for batches of
// exactly tokens tokens. Weights and moments are zero until SetWeights.
func NewEngine(loss *graph.Graph, r Recipe, dev devices.Device, tokens int) (*Engine, error) {
	g, err := StepGraph(loss, r, nil)
	if err != nil {
		return nil, err
	}
	e := &Engine{loss: loss, recipe: r, dev: dev, tokens: tokens}
	if e.prog, err = runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens)); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if e.in, err = findInputs(e.prog); err == nil {
		e.hin, err = e.prog.Input(passes.HyperInput)
	}
	if err == nil && r.Quantization.warms() {
		e.win, err = e.prog.Input(passes.LambdaInput)
	}
	if err == nil {
		e.run, err = e.prog.NewRun()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("train: %w", err), e.prog.Close())
	}
	return e, nil
}

// Close frees the memory.
func (e *Engine) Close() error {
	err := errors.Join(e.run.Close(), e.prog.Close())
	if e.eval != nil {
		err = errors.Join(err, e.eval.Close())
	}
	return err
}

// Program is the compiled step, to explain or to profile.
func (e *Engine) Program() *runtime.Program { return e.prog }

// Params lists the names of the params, in the order of their declaration.
func (e *Engine) Params() []string {
	var names []string
	for _, p := range e.loss.Params() {
		names = append(names, graph.SourceName(p))
	}
	return names
}

// State is what training changes: params and moments by name, and the number of
// updates they have seen. With Optimizer.EMA, Weights are the averages, which are
// the model, and the params they follow are among the Moments, as Master+param.
type State struct {
	Weights map[string]graph.Tensor
	Moments map[string]graph.Tensor // by passes.Moment1+param and passes.Moment2+param; nil: zeros
	Steps   int
	// With Parts above 1 a moment is part Part of the param's, as a sharded
	// optimizer holds it: flat, ops.PartSize elements, zeros behind the last one.
	Part, Parts int
}

// Master precedes a param's name in State.Moments.
const Master = "master/"

// SetState sets params, moments and the number of updates.
func (e *Engine) SetState(ctx context.Context, s State) error {
	var errs []error
	has := func(from map[string]graph.Tensor, name string) bool { _, ok := from[name]; return ok }
	set := func(state, name string, from map[string]graph.Tensor) {
		t, ok := from[name]
		if !ok {
			errs = append(errs, fmt.Errorf("train: no tensor %q for state %q", name, state))
			return
		}
		w, err := t.ToF32()
		if err == nil {
			err = e.run.WriteState(ctx, state, w)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("train: %s: %w", name, err))
		}
	}
	for _, p := range e.loss.Params() {
		name := graph.SourceName(p)
		switch {
		case e.recipe.Optimizer.EMA == 0 && !has(s.Moments, Master+name):
			set(name, name, s.Weights)
		case e.recipe.Optimizer.EMA == 0: // averaging ends: what follows is the params' own
			set(name, Master+name, s.Moments)
		case has(s.Moments, Master+name):
			set(name, Master+name, s.Moments)
			set(passes.Average+name, name, s.Weights)
		default: // averaging begins
			set(name, name, s.Weights)
			set(passes.Average+name, name, s.Weights)
		}
		for _, m := range []string{passes.Moment1 + name, passes.Moment2 + name} {
			if s.Moments != nil {
				set(m, m, s.Moments)
				continue
			}
			dims, err := p.Out[0].Shape.Eval(nil)
			if err == nil {
				err = e.run.WriteState(ctx, m, graph.NewTensor(graph.F32, dims...))
			}
			errs = append(errs, err)
		}
	}
	e.steps = s.Steps
	return errors.Join(errs...)
}

// State returns copies of params and moments.
func (e *Engine) State(ctx context.Context) (State, error) {
	var s State
	return s, e.StateTo(ctx, &s)
}

// StateTo is State into the tensors that s has from an earlier call, so that
// taking the state again and again allocates nothing.
func (e *Engine) StateTo(ctx context.Context, s *State) error {
	if s.Weights == nil {
		s.Weights, s.Moments = map[string]graph.Tensor{}, map[string]graph.Tensor{}
	}
	s.Steps = e.steps
	type copied struct {
		state, name string
		to          map[string]graph.Tensor
	}
	for _, name := range e.Params() {
		all := []copied{{e.weight(name), name, s.Weights}, {passes.Moment1 + name, passes.Moment1 + name, s.Moments}, {passes.Moment2 + name, passes.Moment2 + name, s.Moments}}
		if e.recipe.Optimizer.EMA > 0 {
			all = append(all, copied{name, Master + name, s.Moments})
		}
		for _, f := range all {
			t, ok := f.to[f.name]
			var err error
			if ok {
				err = e.run.ReadStateTo(ctx, f.state, t)
			} else if t, err = e.run.ReadState(ctx, f.state); err == nil {
				f.to[f.name] = t
			}
			if err != nil {
				return fmt.Errorf("train: %w", err)
			}
		}
	}
	return nil
}

// param returns the values that a step computes with, in the memory of buf, which
// grows as needed.
func (e *Engine) param(ctx context.Context, name string, buf *[]byte) ([]float32, error) {
	for _, p := range e.loss.Params() {
		if graph.SourceName(p) != name {
			continue
		}
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		n, err := graph.Count(dims)
		if err != nil {
			return nil, err
		}
		if len(*buf) < 4*n {
			*buf = graph.NewTensor(graph.F32, n).Data
		}
		t, err := graph.NewTensorFrom(graph.F32, (*buf)[:4*n], dims...)
		if err != nil {
			return nil, err
		}
		return t.F32(), e.run.ReadStateTo(ctx, name, t)
	}
	return nil, fmt.Errorf("no param %q", name)
}

// weight is the state that holds what a param is in the model.
func (e *Engine) weight(param string) string {
	if e.recipe.Optimizer.EMA > 0 {
		return passes.Average + param
	}
	return param
}

// Result is what a step reports.
type Result struct {
	Loss     float64 // nats per token, before the update
	GradNorm float64 // before clipping
}

// Step updates the weights on one batch.
func (e *Engine) Step(ctx context.Context, b *data.Batch, lr, decay float64) (Result, error) {
	e.set(b, lr, decay)
	if err := e.run.Step(ctx); err != nil {
		return Result{}, fmt.Errorf("train: %w", err)
	}
	e.steps++
	loss, err := scalar(ctx, e.run, 0)
	if err != nil {
		return Result{}, err
	}
	norm, err := scalar(ctx, e.run, 1)
	return Result{Loss: loss, GradNorm: norm}, err
}

func (e *Engine) set(b *data.Batch, lr, decay float64) {
	e.recipe.Optimizer.hyper(&e.hyper, e.steps, lr, decay)
	e.in.set(e.run, b)
	e.run.SetF32(e.hin, e.hyper[:])
	if q := &e.recipe.Quantization; q.warms() {
		e.warm[0] = float32(q.Lambda(e.steps))
		e.run.SetF32(e.win, e.warm[:])
	}
}

// Profile is Step with a measurement of each kernel call.
func (e *Engine) Profile(ctx context.Context, b *data.Batch, lr, decay float64) ([]runtime.Timing, error) {
	e.set(b, lr, decay)
	times, err := e.run.Profile(ctx)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	e.steps++
	return times, nil
}

func scalar(ctx context.Context, r *runtime.Run, i int) (float64, error) {
	t, err := r.Output(ctx, i)
	if err != nil {
		return 0, fmt.Errorf("train: %w", err)
	}
	return float64(t.F32()[0]), nil
}

// Evaluate scores the present weights on a validation set; see
// [Evaluator.Score].
func (e *Engine) Evaluate(ctx context.Context, v *data.Validation, b *data.Batch) (Score, error) {
	if e.eval == nil {
		var err error
		if e.eval, err = NewEvaluator(e.loss, e.recipe, e.dev, e.tokens); err != nil {
			return Score{}, err
		}
	}
	weights := runtime.Tensors{}
	for _, name := range e.Params() {
		var err error
		if weights[name], err = e.run.ReadState(ctx, e.weight(name)); err != nil {
			return Score{}, fmt.Errorf("train: %w", err)
		}
	}
	return e.eval.Score(ctx, weights, v, b, nil)
}
