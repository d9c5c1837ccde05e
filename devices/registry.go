package devices

import (
	"fmt"
	"sort"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// Rejection says why a kernel was not chosen.
type Rejection struct {
	Kernel string
	Reason string
}

// NoKernelError reports an op that no kernel of the device can run.
type NoKernelError struct {
	Device, Op, Where string
	Rejections        []Rejection
}

func (e *NoKernelError) Error() string {
	var why []string
	for _, r := range e.Rejections {
		why = append(why, r.Kernel+": "+r.Reason)
	}
	if len(why) == 0 {
		why = []string{"it has no kernel for this op"}
	}
	return fmt.Sprintf("%s: device %s cannot run %s: %s", e.Where, e.Device, e.Op, strings.Join(why, "; "))
}

// Candidate is a kernel that can run a call, with its estimated cost.
type Candidate struct {
	Kernel Kernel
	Cost   float64 // nanoseconds
}

// Registry answers which kernels of a device fit a call.
type Registry struct {
	dev      Device
	byOp     map[*graph.OpDef][]Kernel
	fallback []Kernel
	layouts  map[graph.Layout]Layout
}

// NewRegistry indexes the device's tables.
func NewRegistry(dev Device) *Registry {
	r := &Registry{dev: dev, byOp: map[*graph.OpDef][]Kernel{}, layouts: map[graph.Layout]Layout{}}
	for _, k := range dev.Kernels() {
		if k.Op == nil {
			r.fallback = append(r.fallback, k)
			continue
		}
		r.byOp[k.Op] = append(r.byOp[k.Op], k)
	}
	for _, l := range dev.Layouts() {
		r.layouts[l.Name] = l
	}
	return r
}

// Layout returns the named packed layout.
func (r *Registry) Layout(name graph.Layout) (Layout, bool) {
	l, ok := r.layouts[name]
	return l, ok
}

// Claims reports whether the device has a kernel of its own for op, whatever
// the extents; a fallback does not count.
func (r *Registry) Claims(op *graph.OpDef) bool {
	for _, k := range r.byOp[op] {
		if r.missing(k) == "" {
			return true
		}
	}
	return false
}

func (r *Registry) missing(k Kernel) string {
	var miss []string
	for _, f := range k.Needs {
		if r.dev.Has(f) {
			continue
		}
		text := string(f)
		if e, ok := r.dev.(Explainer); ok {
			if why := e.Why(f); why != "" {
				text += " (" + why + ")"
			}
		}
		miss = append(miss, text)
	}
	return strings.Join(miss, ", ")
}

// Candidates returns the kernels that can run the call, cheapest first, and why
// the others cannot. Fallbacks are offered only if nothing else fits.
func (r *Registry) Candidates(c *Call) ([]Candidate, []Rejection) {
	var cs []Candidate
	var rs []Rejection
	for _, ks := range [][]Kernel{r.byOp[c.Op], r.fallback} {
		for _, k := range ks {
			if m := r.missing(k); m != "" {
				rs = append(rs, Rejection{k.Name, "this machine lacks " + m})
				continue
			}
			if err := k.Fit(c); err != nil {
				rs = append(rs, Rejection{k.Name, err.Error()})
				continue
			}
			cost := 0.0
			if k.Cost != nil {
				cost = k.Cost(c)
			}
			cs = append(cs, Candidate{k, cost})
		}
		if len(cs) > 0 {
			break
		}
	}
	sort.SliceStable(cs, func(i, j int) bool { return cs[i].Cost < cs[j].Cost })
	return cs, rs
}

// Choose returns the cheapest kernel for the call, and why others were not
// taken.
func (r *Registry) Choose(c *Call) (Kernel, []Rejection, error) {
	cs, rs := r.Candidates(c)
	if len(cs) == 0 {
		return Kernel{}, rs, &NoKernelError{r.dev.Name(), c.Op.Name, c.Where, rs}
	}
	for _, o := range cs[1:] {
		rs = append(rs, Rejection{o.Kernel.Name, fmt.Sprintf("slower: %.3g µs against %.3g", o.Cost/1e3, cs[0].Cost/1e3)})
	}
	return cs[0].Kernel, rs, nil
}
