package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// Run is the memory of one sequence of steps: an arena for activations, the
// states, and the plans bound to both. It is used by one goroutine at a time;
// Runs of one Program do not disturb each other.
type Run struct {
	p       *Program
	q       devices.Queue
	arena   devices.Buffer // nil until the first plan
	states  map[int]location
	shared  map[int]bool // states whose memory is another run's
	owner   []*Run       // of shared states
	guests  int          // open runs that share states of this one
	in      []given
	out     [][]byte
	bring   []int  // outputs that steps bring along
	brought []bool // by output: out has what the last step gave
	plans   map[symKey]*bound
	now     *bound // of the last step
	ran     bool   // the last step succeeded: outputs can be read
	planned bool   // it needed a plan that was not there
	clock   uint64
	key     symKey // scratch of Step
	misuse  error  // of a setter, reported by the next step
	closed  bool

	begun    int           // steps under way: two if one was queued ahead
	fence    devices.Fence // behind the first of two; nil until there is one
	unfenced bool          // the queue has none

	followers []*follower // runs of other ranks that do what this one does
	leave     func()      // ends the group of ranks
	syms      symKey      // scratch of Step with followers
}

// given is what an input was set to.
type given struct {
	data []byte
	dims []int // nil where only the size is known
}

// symKey is the values of the free symbols; unused places are zero.
type symKey [maxSyms]int

// bound is a plan bound to a Run's memory.
type bound struct {
	key  symKey
	plan *plan
	seq  devices.Sequence
	// launches are the calls one by one, for Observe.
	launches []devices.Launch
	used     uint64 // when it was last stepped
}

// NewRun allocates states, zeroed, and a queue. Weights must be loaded, unless
// the graph has no params.
//
// A state that one of the runs in share has too, by name, is that run's own
// memory instead of new one: programs that take turns, such as one that
// accumulates gradients and one that applies them. Types must agree and the
// programs be compiled for one device. The sharing run is closed first.
func (p *Program) NewRun(share ...*Run) (*Run, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	q, err := p.dev.NewQueue()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.g.Name, err)
	}
	r := &Run{p: p, q: q, states: map[int]location{}, shared: map[int]bool{}, plans: map[symKey]*bound{},
		in: make([]given, len(p.inputs)), out: make([][]byte, len(p.outs)), brought: make([]bool, len(p.outs))}
	p.mu.Lock()
	p.runs++
	p.mu.Unlock()
	for _, v := range p.states {
		took, err := r.borrow(v, share)
		if took {
			continue
		}
		o, e := p.operandAt(v, p.fixed)
		if err = errors.Join(err, e); err == nil {
			at := location{bytes: o.bytes}
			at.buf, err = p.dev.Alloc(o.bytes)
			r.states[v] = at
		}
		if err != nil {
			delete(r.states, v)
			return nil, errors.Join(fmt.Errorf("state %q: %w", graph.SourceName(p.vals[v].v.Node()), err), r.Close())
		}
	}
	return r, nil
}

// ready loads a program that needs no source.
func (p *Program) ready() error {
	p.mu.Lock()
	loaded, closed := p.loaded, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case loaded:
		return nil
	case len(p.g.Params()) > 0:
		return fmt.Errorf("run %s: its %d params are not loaded: call Load first", p.g.Name, len(p.g.Params()))
	}
	return p.Load(context.Background(), nil)
}

// Program returns what r runs.
func (r *Run) Program() *Program { return r.p }

// borrow takes state v from the first of the runs that has one of its name.
func (r *Run) borrow(v int, from []*Run) (bool, error) {
	n := r.p.vals[v].v.Node()
	for _, o := range from {
		for _, w := range o.p.states {
			m := o.p.vals[w].v.Node()
			if graph.SourceName(m) != graph.SourceName(n) {
				continue
			}
			switch {
			case o.closed:
				return false, errors.New("the run to share it with is closed")
			case o.p.dev != r.p.dev:
				return false, fmt.Errorf("the run to share it with is on %s, this one on %s: compile both for one device value", o.p.dev.Name(), r.p.dev.Name())
			case !m.Out[0].Equal(n.Out[0]):
				return false, fmt.Errorf("it is %s here and %s in %s", n.Out[0], m.Out[0], o.p.g.Name)
			}
			r.states[v], r.shared[v] = o.states[w], true
			r.owner = append(r.owner, o)
			o.guests++
			return true, nil
		}
	}
	return false, nil
}

// Close frees the run's memory. It is idempotent.
func (r *Run) Close() error {
	if r.closed {
		return nil
	}
	if r.guests > 0 {
		return fmt.Errorf("close a run of %s: other runs share %d of its states: close them first", r.p.g.Name, r.guests)
	}
	r.closed = true
	errs := []error{r.dismiss()}
	for _, o := range r.owner {
		o.guests--
	}
	if r.fence != nil {
		errs = append(errs, r.fence.Free())
	}
	errs = append(errs, r.dropPlans())
	if r.arena != nil {
		errs = append(errs, r.arena.Free())
	}
	for v, s := range r.states {
		if !r.shared[v] {
			errs = append(errs, s.buf.Free())
		}
	}
	errs = append(errs, r.q.Close())
	r.p.mu.Lock()
	r.p.runs--
	r.p.mu.Unlock()
	return errors.Join(errs...)
}

func (r *Run) dropPlans() error {
	var errs []error
	for _, b := range r.plans {
		errs = append(errs, b.seq.Free())
	}
	clear(r.plans)
	r.now, r.ran = nil, false
	return errors.Join(errs...)
}

// SetBytes gives an input's row-major elements. The slice is kept, not copied:
// every Step reads it, until another one is set. A mistake, such as a handle of
// another program, is reported by the next Step.
func (r *Run) SetBytes(in Input, data []byte) { r.set(in, graph.InvalidDType, data, nil) }

// SetI32 is SetBytes for an i32 input.
func (r *Run) SetI32(in Input, vals []int32) { r.set(in, graph.I32, bytesOf(vals), nil) }

// SetF32 is SetBytes for an f32 input.
func (r *Run) SetF32(in Input, vals []float32) { r.set(in, graph.F32, bytesOf(vals), nil) }

// Set is SetBytes for a tensor, whose type Step checks.
func (r *Run) Set(in Input, t graph.Tensor) {
	r.set(in, t.Elem, t.Data, append([]int{}, t.Dims...))
}

func (r *Run) set(in Input, elem graph.DType, data []byte, dims []int) {
	if in < 0 || int(in) >= len(r.in) {
		r.misuse = fmt.Errorf("input handle %d is not one of graph %s", in, r.p.g.Name)
		return
	}
	want := r.p.vals[r.p.inputs[in]].v.Type()
	if elem != graph.InvalidDType && elem != want.Elem {
		r.misuse = fmt.Errorf("input %q is %s, got %s elements", r.inputName(int(in)), want, elem)
		return
	}
	r.in[in] = given{data, dims}
	for _, f := range r.followers {
		f.run.in[in] = r.in[in]
	}
}

func bytesOf[E any](vals []E) []byte {
	if len(vals) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&vals[0])), len(vals)*int(unsafe.Sizeof(vals[0])))
}

func (r *Run) inputName(i int) string { return graph.SourceName(r.p.vals[r.p.inputs[i]].v.Node()) }

// Step runs the program once on the inputs set before, with one value for each
// of Program.Syms in order. When it returns nil the outputs can be read and the
// states are updated; after an error in mid-step, states may be half updated.
func (r *Run) Step(ctx context.Context, syms ...int) error {
	if len(r.followers) == 0 {
		return r.stepOwn(ctx, syms)
	}
	n := copy(r.syms[:], syms)
	return r.together(ctx, r.syms[:n], func(ctx context.Context) error { return r.stepOwn(ctx, r.syms[:n]) })
}

// stepOwn is the step of this run alone.
func (r *Run) stepOwn(ctx context.Context, syms []int) error {
	if err := r.start(ctx, syms); err != nil {
		return err
	}
	return r.end(ctx)
}

// start queues a step, which end waits for. Ranks that step together are waited for
// at once.
func (r *Run) start(ctx context.Context, syms []int) error {
	r.forsake()
	b, err := r.prepare(ctx, syms)
	if err != nil {
		return fmt.Errorf("step of %s: %w", r.p.g.Name, err)
	}
	return r.begin(b)
}

// begin queues a step whose inputs are written.
func (r *Run) begin(b *bound) error {
	if err := b.seq.Replay(); err != nil {
		return fmt.Errorf("step of %s: %w", r.p.g.Name, err)
	}
	r.begun++
	for _, i := range r.bring {
		if err := r.read(i); err != nil {
			return fmt.Errorf("step of %s: output %d: %w", r.p.g.Name, i, err)
		}
	}
	return nil
}

// end waits for the step that was begun first.
func (r *Run) end(ctx context.Context) error {
	var err error
	switch r.begun {
	case 0:
		return nil // ranks have stepped together
	case 1:
		err = r.q.Sync(ctx)
	default:
		err = r.fence.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("step of %s: %w", r.p.g.Name, err)
	}
	r.begun--
	for _, i := range r.bring {
		r.brought[i] = true
	}
	r.ran = true
	return nil
}

// Skipped is the bytes of weights that the last step left unread, of those that
// Memory.Read counts; 0 before the first step.
func (r *Run) Skipped() int {
	if r.now == nil {
		return 0
	}
	n := 0
	for _, l := range r.now.launches {
		n += skipped(l)
	}
	return n
}

func skipped(l devices.Launch) int {
	if s, ok := l.(devices.Skipper); ok {
		return s.Skipped()
	}
	return 0
}

// prepare finds or makes the plan and writes the inputs.
func (r *Run) prepare(ctx context.Context, syms []int) (*bound, error) {
	r.ran = false
	clear(r.brought)
	if r.closed {
		return nil, errors.New("the run is closed")
	}
	if err := errors.Join(r.misuse, ctx.Err()); err != nil {
		r.misuse = nil
		return nil, err
	}
	b, err := r.find(syms)
	if err != nil {
		return nil, err
	}
	r.now = b
	r.clock++
	b.used = r.clock
	return b, r.write(b, -1)
}

// write writes the inputs but for one.
func (r *Run) write(b *bound, without int) error {
	for i := range b.plan.inputs {
		o := &b.plan.inputs[i]
		in := &r.in[i]
		if len(in.data) != o.bytes || in.dims != nil && !slices.Equal(in.dims, o.dims) {
			return fmt.Errorf("input %q is set to %v (%d bytes), want %v (%d bytes)", r.inputName(i), in.dims, len(in.data), o.dims, o.bytes)
		}
		if o.used && o.bytes > 0 && i != without {
			if err := r.q.Write(r.arena, b.plan.places[o.at.val].off, in.data); err != nil {
				return fmt.Errorf("input %q: %w", r.inputName(i), err)
			}
		}
	}
	return nil
}

func (r *Run) find(syms []int) (*bound, error) {
	r.planned = false
	if len(syms) == len(r.p.syms) {
		r.key = symKey{}
		copy(r.key[:], syms)
		if r.now != nil && r.now.key == r.key {
			return r.now, nil
		}
		if b := r.plans[r.key]; b != nil {
			return b, nil
		}
	}
	r.planned = true
	pl, err := r.p.plan(syms)
	if err != nil {
		return nil, err
	}
	return r.bind(r.key, pl)
}

// bind makes room for the plan and binds its calls.
func (r *Run) bind(key symKey, pl *plan) (*bound, error) {
	if err := r.grow(pl.arena); err != nil {
		return nil, err
	}
	if len(r.plans) >= r.p.maxPlans {
		var oldest *bound
		for _, b := range r.plans {
			if oldest == nil || b.used < oldest.used {
				oldest = b
			}
		}
		delete(r.plans, oldest.key)
		if r.now == oldest {
			r.now = nil
		}
		if err := oldest.seq.Free(); err != nil {
			return nil, err
		}
	}
	launches := make([]devices.Launch, len(pl.calls))
	for i := range pl.calls {
		c := &pl.calls[i]
		bc := c.call
		bc.In = r.operands(bc.In, c.in, pl)
		bc.Out = r.operands(bc.Out, c.out, pl)
		if c.scratch != nil {
			bc.Scratch = devices.Operand{Elem: graph.U8, Dims: []int{c.scratch.bytes}, Buf: r.arena, Off: c.scratch.off}
		}
		l, err := c.kernel.Bind(&bc)
		if err != nil {
			return nil, fmt.Errorf("%s: bind %s: %w", bc.Where, c.kernel.Name, err)
		}
		launches[i] = l
	}
	captured := slices.Clone(launches)
	for i := range pl.calls {
		if until := pl.calls[i].until; until > i+1 {
			captured[i] = devices.Aside{Launch: launches[i], Until: until}
		}
	}
	seq, err := r.q.Capture(captured)
	if err != nil {
		return nil, fmt.Errorf("capture %s: %w", r.p.g.Name, err)
	}
	b := &bound{key: key, plan: pl, seq: seq, launches: launches}
	r.plans[key] = b
	return b, nil
}

func (r *Run) operands(os []devices.Operand, at []stored, pl *plan) []devices.Operand {
	out := make([]devices.Operand, len(os))
	for i, o := range os {
		l := r.at(at[i], pl)
		o.Buf, o.Off = l.buf, l.off
		out[i] = o
	}
	return out
}

// at is where a value lies under a plan.
func (r *Run) at(s stored, pl *plan) location {
	switch r.p.vals[s.val].kind {
	case atLoad:
		return r.p.weights[s]
	case inState:
		return r.states[s.val]
	}
	if sp := pl.places[s.val]; sp != nil {
		return location{buf: r.arena, off: sp.off, bytes: sp.bytes}
	}
	return location{buf: r.arena}
}

// grow makes the arena large enough. Plans are bound to its memory, so they are
// made again; growing by half at least keeps that rare.
func (r *Run) grow(bytes int) error {
	have := 0
	if r.arena != nil {
		have = r.arena.Size()
	}
	if r.arena != nil && bytes <= have {
		return nil
	}
	if err := r.dropPlans(); err != nil {
		return err
	}
	if r.arena != nil {
		if err := r.arena.Free(); err != nil {
			return err
		}
		r.arena = nil
		bytes = max(bytes, have+have/2)
	}
	buf, err := r.p.dev.Alloc(bytes)
	if err != nil {
		return fmt.Errorf("arena of %s: %w", r.p.g.Name, err)
	}
	r.arena = buf
	return nil
}

// Bring lets every following step bring these outputs along, so that Output need
// not ask the device for them again: worth while for small ones that are always
// read. Indices that the graph does not have are left out.
func (r *Run) Bring(outs ...int) {
	r.bring = r.bring[:0]
	for _, i := range outs {
		if i >= 0 && i < len(r.out) {
			r.bring = append(r.bring, i)
		}
	}
}

// read starts to copy output i of the step under way.
func (r *Run) read(i int) error {
	o := &r.now.plan.outs[i]
	if cap(r.out[i]) < o.bytes {
		r.out[i] = graph.NewTensor(graph.U8, o.bytes).Data
	}
	l := r.at(o.at, r.now.plan)
	return r.q.Read(r.out[i][:o.bytes], l.buf, l.off)
}

// Output copies output i of the last step into memory that the next call for
// the same output, or the next step that brings it along, reuses. The dims must
// not be changed.
func (r *Run) Output(ctx context.Context, i int) (graph.Tensor, error) {
	if !r.ran || r.closed {
		return graph.Tensor{}, errors.New("no step has run")
	}
	if i < 0 || i >= len(r.now.plan.outs) {
		return graph.Tensor{}, fmt.Errorf("graph %s has no output %d", r.p.g.Name, i)
	}
	if !r.brought[i] {
		if r.begun > 0 {
			return graph.Tensor{}, fmt.Errorf("output %d: the next step is under way", i)
		}
		if err := errors.Join(r.read(i), r.q.Sync(ctx)); err != nil {
			return graph.Tensor{}, fmt.Errorf("output %d: %w", i, err)
		}
	}
	o := &r.now.plan.outs[i]
	return graph.Tensor{Elem: r.p.vals[r.p.outs[i]].v.Type().Elem, Dims: o.dims, Data: r.out[i][:o.bytes]}, nil
}
