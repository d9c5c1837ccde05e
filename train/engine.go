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
// the loop is the caller's. It is used by one goroutine at a time. With several
// ranks (Scale.Ranks) every rank makes the same calls in the same order.
type Engine struct {
	obj    Objective
	recipe Recipe
	dev    devices.Device // joined to the ranks, a devices.Member if there are several
	tokens int            // of a micro-batch

	progs  compiled
	run    *runtime.Run // of the step's program
	update *runtime.Run // of the program that applies gradients, nil without one
	in     inputs
	hyper  [4]float32
	hin    runtime.Input
	warm   [1]float32    // λ
	win    runtime.Input // if quantization warms up
	share  [1]float32
	sin    runtime.Input // if a loss is one of several
	drop   [2]int32      // step and first row
	din    runtime.Input // if activations are dropped
	first  [1]float32
	fin    runtime.Input // if gradients are accumulated
	micro  data.Batch    // the part that runs
	steps  int           // updates done, which the moments' correction depends on

	eval  *Evaluator // compiled when first needed
	valid *data.Batch
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
// exactly tokens tokens, over all micro-batches and ranks. Weights and moments
// are zero until SetState.
func NewEngine(loss *graph.Graph, r Recipe, dev devices.Device, tokens int) (*Engine, error) {
	return Objective{Step: loss}.Engine(context.Background(), r, dev, tokens)
}

// start makes the runs and finds their inputs.
func (e *Engine) start() (err error) {
	if e.run, err = e.progs.step.NewRun(); err != nil {
		return err
	}
	// What a step reports comes along with it: there is one wait a step.
	outs := make([]int, len(e.progs.step.Outputs()))
	for i := range outs {
		outs[i] = i
	}
	e.run.Bring(outs...)
	last := e.progs.step
	if e.progs.update != nil {
		last = e.progs.update
		if e.update, err = last.NewRun(e.run); err != nil {
			return err
		}
		e.update.Bring(0)
		if e.fin, err = e.progs.step.Input(passes.FirstInput); err != nil {
			return err
		}
	}
	if e.in, err = findInputs(e.progs.step); err != nil {
		return err
	}
	if e.recipe.Quantization.warms() {
		if e.win, err = e.progs.step.Input(passes.LambdaInput); err != nil {
			return err
		}
	}
	if e.recipe.Dropout.P > 0 {
		if e.din, err = e.progs.step.Input(passes.DropoutInput); err != nil {
			return fmt.Errorf("dropout: the model has no embedding and no weight named by dropout.after: %w", err)
		}
	}
	if e.weighed() {
		if e.sin, err = e.progs.step.Input(passes.LossShareInput); err != nil {
			return err
		}
	}
	e.hin, err = last.Input(passes.HyperInput)
	return err
}

// weighed reports whether a loss is one share of several.
func (e *Engine) weighed() bool { return e.recipe.Scale.parts() > 1 }

// states is the run that has all states.
func (e *Engine) states() *runtime.Run {
	if e.update != nil {
		return e.update
	}
	return e.run
}

// Close frees the memory.
func (e *Engine) Close() error {
	var errs []error
	for _, r := range []*runtime.Run{e.update, e.run} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	errs = append(errs, e.progs.close())
	if e.eval != nil {
		errs = append(errs, e.eval.Close())
	}
	if m, ok := e.dev.(devices.Member); ok {
		errs = append(errs, m.Leave())
	}
	return errors.Join(errs...)
}

// Program is the compiled step, to explain or to profile: with
// Scale.Accumulate, what each micro-batch runs.
func (e *Engine) Program() *runtime.Program { return e.progs.step }

// Memory is what the compiled step holds on this rank.
func (e *Engine) Memory() (Memory, error) { return e.progs.memory() }

// Recomputation is what Scale.Memory led to; the zero value without one.
func (e *Engine) Recomputation() Recomputation { return e.progs.Recomputation }

// Params lists the names of the trained params, in the order of their declaration.
func (e *Engine) Params() []string {
	var names []string
	for _, p := range e.obj.params() {
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
			err = e.writeState(ctx, state, w, s.Parts)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("train: %s: %w", name, err))
		}
	}
	for _, p := range e.obj.params() {
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
				err = e.writeState(ctx, m, graph.NewTensor(graph.F32, dims...), 1)
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
// taking the state again and again allocates nothing. With several ranks Part and
// Parts say which this one is; moments are cut only with Scale.Shard.
func (e *Engine) StateTo(ctx context.Context, s *State) error {
	if s.Weights == nil {
		s.Weights, s.Moments = map[string]graph.Tensor{}, map[string]graph.Tensor{}
	}
	s.Steps = e.steps
	s.Part, s.Parts = e.recipe.Scale.ranks()
	type copied struct {
		state, name string
		to          map[string]graph.Tensor
	}
	r := e.states()
	for _, name := range e.Params() {
		all := []copied{{e.weight(name), name, s.Weights}, {passes.Moment1 + name, passes.Moment1 + name, s.Moments}, {passes.Moment2 + name, passes.Moment2 + name, s.Moments}}
		if e.recipe.Optimizer.EMA > 0 {
			all = append(all, copied{name, Master + name, s.Moments})
		}
		for _, f := range all {
			t, ok := f.to[f.name]
			var err error
			if ok {
				err = r.ReadStateTo(ctx, f.state, t)
			} else if t, err = r.ReadState(ctx, f.state); err == nil {
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
	for _, p := range e.obj.params() {
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
	// Objective is what was lowered: Loss, or with a teacher a weighed sum.
	Objective float64
	// Divergences from a teacher: those that have a weight, of predictions and
	// of relations.
	Divergences [2]float64
}

// Step updates the weights on one batch: of several ranks, all are given the
// whole batch.
func (e *Engine) Step(ctx context.Context, b *data.Batch, lr, decay float64) (Result, error) {
	return e.step(b, lr, decay, func(r *runtime.Run) error { return r.Step(ctx) })
}

// Profile is Step with a measurement of each kernel call.
func (e *Engine) Profile(ctx context.Context, b *data.Batch, lr, decay float64) (times []runtime.Timing, err error) {
	_, err = e.step(b, lr, decay, func(r *runtime.Run) error {
		t, err := r.Profile(ctx)
		times = append(times, t...)
		return err
	})
	return times, err
}

// step runs this rank's micro-batches and the update.
func (e *Engine) step(b *data.Batch, lr, decay float64, run func(*runtime.Run) error) (res Result, err error) {
	s := &e.recipe.Scale
	rank, size := s.ranks()
	parts, own := s.parts(), s.accumulate()
	if b.Rows%parts != 0 || b.Rows/parts*b.Window != e.tokens {
		return res, fmt.Errorf("train: a batch of %d windows of %d tokens for a step compiled for %d parts of %d tokens", b.Rows, b.Window, parts, e.tokens)
	}
	ctx := context.Background() // outputs are read from memory
	sums := make([]float64, len(e.obj.Step.Outs))
	e.recipe.Optimizer.hyper(&e.hyper, e.steps, lr, decay)
	if q := &e.recipe.Quantization; q.warms() {
		e.warm[0] = float32(q.Lambda(e.steps))
		e.run.SetF32(e.win, e.warm[:])
	}
	last := e.run
	if e.update != nil {
		last = e.update
	}
	last.SetF32(e.hin, e.hyper[:])
	for i := range own {
		b.Part(rank*own+i, parts, &e.micro)
		e.in.set(e.run, &e.micro)
		if e.recipe.Dropout.P > 0 {
			e.drop = [2]int32{int32(e.steps), int32((rank*own + i) * e.tokens)}
			e.run.SetI32(e.din, e.drop[:])
		}
		if e.weighed() {
			e.share[0] = float32(float64(e.micro.Counted) / float64(max(b.Counted, 1)))
			e.run.SetF32(e.sin, e.share[:])
		}
		if e.update != nil {
			e.first[0] = 0
			if i == 0 {
				e.first[0] = 1
			}
			e.run.SetF32(e.fin, e.first[:])
		}
		if err := run(e.run); err != nil {
			return res, fmt.Errorf("train: %w", err)
		}
		for j := range sums {
			v, err := scalar(ctx, e.run, j)
			if err != nil {
				return res, err
			}
			// The parts of an objective are not weighed, their sum is.
			if j > 0 && e.weighed() {
				v *= float64(e.share[0])
			}
			sums[j] += v
		}
	}
	norm := len(sums)
	if e.update != nil {
		norm = 0
		if err := run(e.update); err != nil {
			return res, fmt.Errorf("train: %w", err)
		}
	}
	e.steps++
	if size > 1 {
		all, err := s.gather(sums)
		if err != nil {
			return res, err
		}
		sums = make([]float64, len(sums))
		for _, l := range all {
			for j, v := range l {
				sums[j] += v
			}
		}
	}
	res.Objective, res.Loss = sums[0], sums[min(1, len(sums)-1)]
	copy(res.Divergences[:], sums[min(2, len(sums)):])
	res.GradNorm, err = scalar(ctx, last, norm)
	return res, err
}

func scalar(ctx context.Context, r *runtime.Run, i int) (float64, error) {
	t, err := r.Output(ctx, i)
	if err != nil {
		return 0, fmt.Errorf("train: %w", err)
	}
	return float64(t.F32()[0]), nil
}

// Evaluate scores the present weights on a validation set; see
// [Evaluator.Score]. Ranks share the work; all get the whole score.
func (e *Engine) Evaluate(ctx context.Context, v data.Held, b *data.Batch) (Score, error) {
	if e.eval == nil {
		var err error
		if e.eval, err = NewEvaluator(e.obj.eval(), e.recipe, e.dev, e.tokens); err != nil {
			return Score{}, err
		}
		e.eval.ranks = e.recipe.Scale
	}
	if parts := e.recipe.Scale.parts(); parts > 1 {
		if e.valid == nil {
			e.valid = data.NewBatch(b.Rows/parts, b.Window)
		}
		b = e.valid
	}
	weights := runtime.Tensors{}
	for _, name := range e.Params() {
		var err error
		if weights[name], err = e.states().ReadState(ctx, e.weight(name)); err != nil {
			return Score{}, fmt.Errorf("train: %w", err)
		}
	}
	return e.eval.Score(ctx, overlay{weights, e.obj.Frozen}, v, b, nil)
}
