package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train/data"
)

// ErrDiverged is wrapped by the error of a run whose loss or gradient became
// infinite or not a number, or whose loss exploded.
var ErrDiverged = errors.New("training diverged")

// Finding is where a step first went wrong.
type Finding struct {
	// Param is set if a weight was not finite before the step began.
	Param string
	// Where is the position and the scope of the op that first gave a value that
	// is not finite, with the op's name; of the op with the largest magnitude if
	// none did.
	Where  string
	Kernel string
	Result string  // name of the value in the graph, if it has one
	Index  int     // of the element
	Value  float64 // of the element
	Bad    bool    // Value is not finite
	// Operands is the largest magnitude among the op's operands that were
	// computed in this step, 0 if none was, and the op that gave it.
	Operands float64
	From     string
}

func (f Finding) String() string {
	switch {
	case f.Param != "":
		return fmt.Sprintf("element %d of the weight %s was %v before the step", f.Index, f.Param, f.Value)
	case !f.Bad:
		return fmt.Sprintf("every value is finite; the largest, %g, is element %d of the result of %s", f.Value, f.Index, f.Where)
	}
	s := f.Where + " is the first op that gives a value that is not finite: "
	if f.Result != "" {
		s += f.Result + " "
	}
	s += fmt.Sprintf("is %v at element %d, by kernel %s", f.Value, f.Index, f.Kernel)
	if f.Operands > 0 {
		s += fmt.Sprintf(", of operands up to %g from %s", f.Operands, f.From)
	}
	return s
}

var errFound = errors.New("found")

// Diagnose does a step while it looks at every value that the step computes, and
// reports the first that is not finite. It changes the state as a step does, or
// half of it: set it again afterwards.
func (e *Engine) Diagnose(ctx context.Context, b *data.Batch, lr, decay float64) (Finding, error) {
	for _, name := range e.Params() {
		w, err := e.run.ReadState(ctx, name)
		if err != nil {
			return Finding{}, fmt.Errorf("train: %w", err)
		}
		if i, v := notFinite(w.F32()); i >= 0 {
			return Finding{Param: name, Index: i, Value: v, Bad: true}, nil
		}
	}
	// Other ranks wait for what this one sends: with them the step is not cut short.
	_, size := e.recipe.Scale.ranks()
	var found Finding
	reach := map[graph.Value]float64{} // largest magnitude of each value so far
	look := func(o runtime.Observation) error {
		if found.Bad || o.Value.Elem != graph.F32 && o.Value.Elem != graph.BF16 {
			return nil
		}
		vals, err := o.Value.ToF32()
		if err != nil {
			return err
		}
		v := o.Node.Result(o.Result)
		f := Finding{Where: o.Node.Where(), Kernel: o.Kernel, Result: v.Hint()}
		for _, in := range o.Node.In {
			if r := reach[in]; r > f.Operands {
				f.Operands, f.From = r, in.Node().Where()
			}
		}
		if f.Index, f.Value = notFinite(vals.F32()); f.Index >= 0 {
			f.Bad = true
			if found = f; size > 1 {
				return nil
			}
			return errFound
		}
		f.Index, f.Value = largest(vals.F32())
		reach[v] = math.Abs(f.Value)
		if reach[v] > math.Abs(found.Value) {
			found = f
		}
		return nil
	}
	_, err := e.step(b, lr, decay, func(r *runtime.Run) error {
		clear(reach)
		return r.Observe(ctx, look)
	})
	if err != nil && !errors.Is(err, errFound) {
		return Finding{}, err
	}
	return found, nil
}

// notFinite finds the first infinity or NaN; -1 if there is none.
func notFinite(vals []float32) (int, float64) {
	for i, v := range vals {
		if v-v != 0 {
			return i, float64(v)
		}
	}
	return -1, 0
}

func largest(vals []float32) (at int, v float64) {
	for i, x := range vals {
		if math.Abs(float64(x)) > math.Abs(v) {
			at, v = i, float64(x)
		}
	}
	return at, v
}

// watch follows the loss of a run.
type watch struct {
	explode float64 // see Config.Explode
	uniform float64 // loss of guessing all tokens alike
	mean    float64 // of recent losses
	seen    int
}

// warming is how many losses make a mean.
const warming = 10

// wrong says what is wrong with a step, "" if nothing is.
func (w *watch) wrong(r Result) string {
	switch {
	case !isFinite(r.Loss):
		return fmt.Sprintf("the loss is %v", r.Loss)
	case !isFinite(r.Objective):
		return fmt.Sprintf("the objective is %v, the loss %g", r.Objective, r.Loss)
	case !isFinite(r.GradNorm):
		return fmt.Sprintf("the gradient's norm is %v, the loss %g", r.GradNorm, r.Loss)
	case w.explode > 0 && w.seen >= warming && r.Loss > w.explode*w.mean && r.Loss > 4*w.uniform:
		return fmt.Sprintf("the loss is %g after %g on average", r.Loss, w.mean)
	}
	w.seen++
	w.mean += (r.Loss - w.mean) / float64(min(w.seen, 2*warming))
	return ""
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// diverged ends a run: it finds the cause, if the state before the step was
// kept, and saves that state.
func (t *Trainer) diverged(ctx context.Context, step int, why string, lr, decay float64) error {
	t.reapWarned(true)
	err := fmt.Errorf("train: step %d: %w: %s", step, ErrDiverged, why)
	if t.cfg.CheckFinite {
		found, bad := t.diagnose(ctx, lr, decay)
		switch {
		case bad != nil:
			err = fmt.Errorf("%w; the cause could not be found: %w", err, bad)
		default:
			err = fmt.Errorf("%w; %s", err, found)
		}
		if found.Param == "" && bad == nil {
			if bad := t.checkpoint(ctx); bad != nil {
				err = fmt.Errorf("%w; the state before the step could not be saved: %w", err, bad)
			}
		}
	} else {
		err = fmt.Errorf("%w; resume it with check_finite to find the op and the layer", err)
	}
	return fmt.Errorf("%w; the last good checkpoint is %s; try a lower peak rate than %g or a longer warmup than %d steps",
		err, t.lastGood(), t.cfg.Optimizer.Schedule.Peak, t.cfg.Optimizer.Schedule.Warmup)
}

// diagnose repeats the step that went wrong and leaves the state before it.
func (t *Trainer) diagnose(ctx context.Context, lr, decay float64) (found Finding, err error) {
	if err := t.engine.SetState(ctx, t.good); err != nil {
		return found, err
	}
	if found, err = t.engine.Diagnose(ctx, t.batch, lr, decay); err != nil {
		return found, err
	}
	return found, t.engine.SetState(ctx, t.good)
}
