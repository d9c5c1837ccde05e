package gorgonia

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"gorgonia.org/tensor"
)

// AdamW configures a [Trainer]. The zero value of a field takes its default.
type AdamW struct {
	Beta1, Beta2, Eps float64 // 0.9, 0.999, 1e-8
	MaxNorm           float64 // of all gradients together; 0 does not clip
	// Want says which params are trained; nil: all.
	Want func(param string) bool
}

// Trainer trains an imported graph on a device: one compiled program makes a
// whole step, forward, backward and AdamW. It is used by one goroutine at a time.
type Trainer struct {
	m       *Machine
	params  Params
	trained []string
	opt     AdamW
	steps   int
	hyper   *tensor.Dense // f32[4]
	set     map[string]*tensor.Dense
}

// NewTrainer compiles the training step of a graph whose first output is a scalar
// loss. It starts from the weights in params, and [Trainer.Sync] writes what it
// has learned back there.
func NewTrainer(ctx context.Context, loss *graph.Graph, params Params, dev devices.Device, o AdamW) (*Trainer, error) {
	for _, f := range []struct {
		to   *float64
		init float64
	}{{&o.Beta1, 0.9}, {&o.Beta2, 0.999}, {&o.Eps, 1e-8}} {
		if *f.to == 0 {
			*f.to = f.init
		}
	}
	some := o.Want
	o.Want = func(param string) bool {
		return !strings.HasPrefix(param, constPrefix) && (some == nil || some(param))
	}
	t := &Trainer{params: params, opt: o, set: map[string]*tensor.Dense{},
		hyper: tensor.New(tensor.WithShape(4), tensor.Of(tensor.Float32))}
	for _, p := range loss.Params() {
		if name := graph.SourceName(p); o.Want(name) {
			t.trained = append(t.trained, name)
		}
	}
	if len(t.trained) == 0 {
		return nil, errors.New("gorgonia: no param is to be trained")
	}
	step, err := passes.Train(passes.TrainOptions{AdamW: passes.AdamW{
		Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, MaxNorm: o.MaxNorm, Want: o.Want,
	}}).Run(loss, nil)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	t.m = &Machine{g: step}
	if t.m.prog, err = runtime.Compile(step, dev); err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	if len(step.Params()) > 0 {
		err = t.m.prog.Load(ctx, params)
	}
	if err == nil {
		err = t.m.open()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gorgonia: %w", err), t.m.prog.Close())
	}
	for _, name := range t.trained {
		w, ok := params[name]
		if !ok {
			err = fmt.Errorf("param %q: %w", name, runtime.ErrMissing)
		} else {
			err = t.m.run.WriteState(ctx, name, w)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gorgonia: %w", err), t.Close())
		}
	}
	return t, nil
}

// Program is the compiled step, to explain or to profile.
func (t *Trainer) Program() *runtime.Program { return t.m.prog }

// Step makes one update from the inputs, given by name, and returns the loss
// before it.
func (t *Trainer) Step(ctx context.Context, inputs map[string]*tensor.Dense, rate, decay float64) (loss float64, err error) {
	t.steps++
	n := float64(t.steps)
	h := t.hyper.Float32s()
	h[0], h[1] = float32(rate), float32(decay)
	h[2] = float32(1 - math.Pow(t.opt.Beta1, n))
	h[3] = float32(math.Sqrt(1 - math.Pow(t.opt.Beta2, n)))
	clear(t.set)
	for name, d := range inputs {
		t.set[name] = d
	}
	t.set[passes.HyperInput] = t.hyper
	if err := t.m.step(ctx, t.set); err != nil {
		t.steps--
		return 0, err
	}
	out, err := t.m.run.Output(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("gorgonia: %w", err)
	}
	return float64(out.F32()[0]), nil
}

// Profile makes one more update from the inputs of the last Step, with a
// measurement of each kernel call.
func (t *Trainer) Profile(ctx context.Context) ([]runtime.Timing, error) { return t.m.Profile(ctx) }

// Sync copies the trained weights to the params, and so to Gorgonia's graph.
func (t *Trainer) Sync(ctx context.Context) error {
	var errs []error
	for _, name := range t.trained {
		w, err := t.m.run.ReadState(ctx, name)
		if err == nil {
			err = t.params.Set(name, w)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close frees what the trainer holds.
func (t *Trainer) Close() error { return t.m.Close() }
