// Package conformance checks every kernel of a device against the reference
// implementations of the ops.
//
// For each row of the device's table it draws calls with odd shapes and
// adversarial values and runs those that the kernel accepts through the device's
// queue, with results and scratch full of garbage and canaries, or unreadable
// pages where the system has them, around every operand. It compares results
// with the op's reference: with == for ops whose bits are pinned, within a stated
// tolerance otherwise. The same call must give the same bits wherever its
// operands lie, in place where the kernel allows it, on 1, 2 and 3 threads, and
// row by row with any kernel of the same reduction order.
package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// Case is one call to try.
type Case struct {
	Attrs any
	In    []graph.Tensor
	// Rows lists the operands of which row i is all that row i of every result
	// needs; nil if rows are not independent.
	Rows []int
	Note string // what is special about the values
}

// Tolerance says how far a result may be from the reference. The zero value
// demands equality.
type Tolerance struct {
	Rel  float64 // of the largest absolute value of the tensor
	Each float64 // of the element itself, alternatively
	Abs  float64
	// Codes allows integer results to be off by one where the reference lies
	// within a hair of a rounding tie: in at most this share of the elements,
	// and two more.
	Codes float64
	// Narrow, of the largest absolute value, is allowed beside these in results in
	// bf16: for ops whose kernels round what they compute in between to bf16, as
	// matrix units want it.
	Narrow float64
}

// Op is what the suite knows about an op.
type Op struct {
	Cases func(r *Rand) []Case
	Tol   Tolerance
}

// Options adjusts a run.
type Options struct {
	// Threads returns the same device with another number of threads; nil
	// leaves thread counts out.
	Threads func(n int) devices.Device
	// Ops adds ops, or replaces what the suite knows about them.
	Ops map[*graph.OpDef]Op
}

// Run tests every kernel of dev, each as a subtest of its name. A kernel whose
// features the machine lacks is skipped with that reason.
func Run(t *testing.T, dev devices.Device, o Options) {
	s, err := newSuite(dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.bench.close(); err != nil {
			t.Error(err)
		}
	})
	test := func(name string, k devices.Kernel, op *graph.OpDef) {
		t.Run(name, func(t *testing.T) {
			if missing := missing(dev, k); missing != "" {
				t.Skipf("not run: %s lacks %s", dev.Name(), missing)
			}
			if err := s.every(k, op); err != nil {
				t.Error(err)
			}
		})
	}
	for _, k := range dev.Kernels() {
		if k.Op == nil {
			for op := range s.known {
				test(op.Name+"."+k.Name, k, op)
			}
			continue
		}
		test(k.Name, k, k.Op)
	}
}

type suite struct {
	dev   devices.Device
	bench *bench
	known map[*graph.OpDef]Op
	o     Options
	cases map[*graph.OpDef][]*prepared
	solos map[soloKey]*solo
}

// solo is a row of a case alone, with what kernels made of it: so that many kernels
// of one reduction order run each row once, not once for every pair of them.
type solo struct {
	one *prepared
	by  map[int][]graph.Tensor // by the kernel's place in the device's table
}

type soloKey struct {
	p   *prepared
	row int
}

// newSuite returns a suite whose bench is to be closed.
func newSuite(dev devices.Device, o Options) (*suite, error) {
	b, err := newBench(dev)
	if err != nil {
		return nil, err
	}
	s := &suite{dev: dev, bench: b, known: Known(), o: o, cases: map[*graph.OpDef][]*prepared{}, solos: map[soloKey]*solo{}}
	for op, k := range o.Ops {
		s.known[op] = k
	}
	return s, nil
}

// prepared is a case with its reference results.
type prepared struct {
	Case
	want []graph.Tensor
}

func (p *prepared) String() string {
	var ts []string
	for _, x := range p.In {
		ts = append(ts, x.Type().String())
	}
	return fmt.Sprintf("%s %+v %s", strings.Join(ts, " "), p.Attrs, p.Note)
}

// call describes the case for choosing, with operands of its types.
func (p *prepared) call(op *graph.OpDef) *devices.Call {
	c := &devices.Call{Op: op, Attrs: p.Attrs, Where: "conformance: " + op.Name}
	for _, x := range p.In {
		c.In = append(c.In, devices.Operand{Elem: x.Elem, Dims: x.Dims})
	}
	for _, x := range p.want {
		c.Out = append(c.Out, devices.Operand{Elem: x.Elem, Dims: x.Dims})
	}
	return c
}

// prepare draws an op's cases, always the same ones.
func (s *suite) prepare(op *graph.OpDef) ([]*prepared, error) {
	if ps, ok := s.cases[op]; ok {
		return ps, nil
	}
	k, ok := s.known[op]
	if !ok {
		return nil, fmt.Errorf("the suite has no cases for op %s: add them to its table or to Options.Ops", op.Name)
	}
	var ps []*prepared
	for _, c := range k.Cases(&Rand{rand.New(rand.NewPCG(1, uint64(len(op.Name))))}) {
		p, err := reference(op, c)
		if err != nil {
			return nil, fmt.Errorf("bad case %v: %w", &prepared{Case: c}, err)
		}
		ps = append(ps, p)
		if c, ok := inBF16(op, c); ok && s.bf16(op) {
			if p, err := reference(op, c); err == nil { // a body may mix bf16 with f32
				ps = append(ps, p)
			}
		}
	}
	s.cases[op] = ps
	return ps, nil
}

// bf16 reports whether the device has a kernel for the op in bf16.
func (s *suite) bf16(op *graph.OpDef) bool {
	return slices.ContainsFunc(s.dev.Kernels(), func(k devices.Kernel) bool { return k.BF16 && (k.Op == nil || k.Op == op) })
}

// Cases are all cases of an op, those in bf16 among them, drawn as Run draws them.
func Cases(op *graph.OpDef) []Case {
	var all []Case
	for _, c := range Known()[op].Cases(&Rand{rand.New(rand.NewPCG(1, uint64(len(op.Name))))}) {
		all = append(all, c)
		if c, ok := inBF16(op, c); ok {
			all = append(all, c)
		}
	}
	return all
}

// inBF16 is a case with its f32 operands rounded to bf16 where the op takes that.
func inBF16(op *graph.OpDef, c Case) (Case, bool) {
	in := slices.Clone(c.In)
	for i, x := range in {
		if x.Elem != graph.F32 || !op.NarrowOperand(i) {
			continue
		}
		in[i] = graph.NewTensor(graph.BF16, x.Dims...)
		for j, v := range x.F32() {
			in[i].U16()[j] = graph.F32ToBF16(v)
		}
	}
	c.In, c.Note = in, c.Note+" in bf16"
	return c, op.InBF16(func(i int) graph.DType { return in[min(i, len(in)-1)].Elem })
}

// reference runs a case through the op's own implementation.
func reference(op *graph.OpDef, c Case) (*prepared, error) {
	types := make([]graph.Type, len(c.In))
	in := make([]graph.Tensor, len(c.In))
	for i, x := range c.In {
		types[i] = x.Type()
		in[i] = x.Clone()
	}
	outs, err := op.InferTypes(c.Attrs, types)
	if err != nil {
		return nil, err
	}
	p := &prepared{Case: c}
	for _, t := range outs {
		dims, err := t.Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		p.want = append(p.want, graph.NewTensor(t.Elem, dims...))
	}
	return p, op.Run(c.Attrs, in, p.want)
}

// every runs all cases of an op that the kernel accepts. The error joins the
// first few failures; a kernel that accepts nothing is untested, hence wrong.
func (s *suite) every(k devices.Kernel, op *graph.OpDef) error {
	ps, err := s.prepare(op)
	if err != nil {
		return err
	}
	ran := 0
	var reason error
	var errs []error
	for _, p := range ps {
		if emptyResults(p) {
			continue // lowering does not run these
		}
		if err := k.Fit(p.call(op)); err != nil {
			reason = err
			continue
		}
		ran++
		if err := s.check(k, op, p); err != nil {
			if errs = append(errs, fmt.Errorf("%v:\n%w", p, err)); len(errs) == 4 {
				break
			}
		}
	}
	if ran == 0 {
		return fmt.Errorf("none of %d cases is accepted, the last because: %v", len(ps), reason)
	}
	return errors.Join(errs...)
}

func emptyResults(p *prepared) bool {
	for _, w := range p.want {
		if w.Len() > 0 {
			return false
		}
	}
	return true
}

func missing(dev devices.Device, k devices.Kernel) string {
	var miss []string
	for _, f := range k.Needs {
		if !dev.Has(f) {
			miss = append(miss, string(f))
		}
	}
	return strings.Join(miss, ", ")
}

// check runs one accepted case in every way.
func (s *suite) check(k devices.Kernel, op *graph.OpDef, p *prepared) error {
	base, err := s.bench.execute(k, op, p, atEnd, nil)
	if err != nil {
		return err
	}
	for i, w := range p.want {
		if err := compare(base[i], w, s.known[op].Tol); err != nil {
			return fmt.Errorf("result %d (%s): %w", i, w.Type(), err)
		}
	}
	var errs []error
	same := func(how string, got []graph.Tensor, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", how, err))
			return
		}
		for i := range got {
			if !bytes.Equal(got[i].Data, base[i].Data) {
				errs = append(errs, fmt.Errorf("%s: result %d has other bits", how, i))
			}
		}
	}
	got, err := s.bench.execute(k, op, p, atStart, nil)
	same("with operands at the start of a page", got, err)
	if len(op.Updates) == 0 { // states are never mapped files
		got, err := s.bench.execute(k, op, p, flush, nil)
		same("with operands that end where memory ends", got, err)
	}
	for _, u := range k.InPlace {
		if u.In < len(p.In) && u.Out < len(p.want) && p.want[u.Out].Len() > 0 && len(p.want[u.Out].Data) <= len(p.In[u.In].Data) {
			got, err := s.bench.execute(k, op, p, atEnd, &u)
			same(fmt.Sprintf("with result %d in the place of operand %d", u.Out, u.In), got, err)
		}
	}
	if s.o.Threads != nil {
		for n := 1; n <= 3; n++ {
			got, err := s.onThreads(n, k, op, p)
			same(fmt.Sprintf("on %d threads", n), got, err)
		}
	}
	errs = append(errs, s.rows(k, op, p, base))
	return errors.Join(errs...)
}

// onThreads runs the case on the kernel of the same name of a device with n
// threads.
func (s *suite) onThreads(n int, k devices.Kernel, op *graph.OpDef, p *prepared) ([]graph.Tensor, error) {
	dev := s.o.Threads(n)
	if c, ok := dev.(interface{ Close() error }); ok {
		defer c.Close()
	}
	for _, l := range dev.Kernels() {
		if l.Name == k.Name && l.Op == k.Op {
			b, err := newBench(dev)
			if err != nil {
				return nil, err
			}
			out, err := b.execute(l, op, p, atStart, nil)
			return out, errors.Join(err, b.close())
		}
	}
	return nil, fmt.Errorf("the device has no kernel %s", k.Name)
}

// rows computes single rows with every kernel of the same reduction order.
func (s *suite) rows(k devices.Kernel, op *graph.OpDef, p *prepared, base []graph.Tensor) error {
	if len(p.Rows) == 0 || base[0].Rows() < 2 {
		return nil
	}
	n := base[0].Dims[0]
	for _, row := range []int{0, n / 2, n - 1} {
		alone, err := s.solo(op, p, row)
		if err != nil {
			return fmt.Errorf("row %d alone: %w", row, err)
		}
		for at, l := range s.dev.Kernels() {
			if l.Op != k.Op || !sameOrder(op, k, l) || missing(s.dev, l) != "" || l.Fit(alone.one.call(op)) != nil {
				continue
			}
			got := alone.by[at]
			if got == nil {
				if got, err = s.bench.execute(l, op, alone.one, atStart, nil); err != nil {
					return fmt.Errorf("row %d alone by %s: %w", row, l.Name, err)
				}
				alone.by[at] = got
			}
			for i := range got {
				if !bytes.Equal(got[i].Data, rowOf(base[i], row).Data) {
					return fmt.Errorf("row %d alone by %s: result %d has other bits than among %d rows", row, l.Name, i, n)
				}
			}
		}
	}
	return nil
}

// solo is a row of a case alone.
func (s *suite) solo(op *graph.OpDef, p *prepared, row int) (*solo, error) {
	key := soloKey{p, row}
	if a := s.solos[key]; a != nil {
		return a, nil
	}
	c := p.Case
	c.In = append([]graph.Tensor(nil), p.In...)
	for _, i := range p.Rows {
		c.In[i] = rowOf(c.In[i], row)
	}
	one, err := reference(op, c)
	if err != nil {
		return nil, err
	}
	a := &solo{one, map[int][]graph.Tensor{}}
	s.solos[key] = a
	return a, nil
}

// sameOrder reports whether lowering may mix the two kernels between plans.
func sameOrder(op *graph.OpDef, a, b devices.Kernel) bool {
	return op.Exact || a.Name == b.Name || a.Order != "" && a.Order == b.Order
}

// rowOf is row i of x, which keeps its rank.
func rowOf(x graph.Tensor, i int) graph.Tensor {
	size := len(x.Data) / x.Dims[0]
	dims := append([]int{1}, x.Dims[1:]...)
	return graph.Tensor{Elem: x.Elem, Dims: dims, Data: x.Data[i*size : (i+1)*size]}
}
