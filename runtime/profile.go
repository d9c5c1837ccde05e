package runtime

import (
	"context"
	"fmt"
	"time"
)

// Timing is one kernel call of a profiled step.
type Timing struct {
	Kernel string
	Op     string
	Where  string // position and scope
	Time   time.Duration
	Bytes  int // of operands and results, in their plain size
	Read   int // of weights, as they are stored, less what was skipped
}

// Syms is the symbols' values in the last step, for Profile and Program.Memory;
// nil before the first. It must not be changed.
func (r *Run) Syms() []int {
	if r.now == nil {
		return nil
	}
	return r.now.key[:len(r.p.syms)]
}

// Profile is Step with a measurement around each call, in order. It allocates,
// and on some devices costs more than a step.
func (r *Run) Profile(ctx context.Context, syms ...int) (out []Timing, err error) {
	err = r.together(ctx, syms, func(ctx context.Context) error {
		out, err = r.profileOwn(ctx, syms)
		return err
	})
	return out, err
}

func (r *Run) profileOwn(ctx context.Context, syms []int) ([]Timing, error) {
	b, err := r.prepare(ctx, syms)
	if err != nil {
		return nil, fmt.Errorf("profile of %s: %w", r.p.g.Name, err)
	}
	times, err := b.seq.Profile()
	if err != nil {
		return nil, fmt.Errorf("profile of %s: %w", r.p.g.Name, err)
	}
	if len(times) != len(b.plan.calls) {
		return nil, fmt.Errorf("profile of %s: %d measurements for %d calls", r.p.g.Name, len(times), len(b.plan.calls))
	}
	r.ran = true
	out := make([]Timing, len(times))
	for i := range times {
		c := &b.plan.calls[i]
		out[i] = Timing{Kernel: callName(c), Op: c.call.Op.Name, Where: c.call.Where, Time: times[i]}
		if out[i].Read, err = r.p.weightsRead(c); err != nil {
			return nil, err
		}
		out[i].Read -= skipped(b.launches[i])
		for _, o := range c.call.In {
			out[i].Bytes += o.Bytes()
		}
		for _, o := range c.call.Out {
			out[i].Bytes += o.Bytes()
		}
	}
	return out, nil
}
