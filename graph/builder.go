package graph

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Builder collects nodes. Mistakes are recorded with the user's position and
// turned into poisoned values, so that [Builder.Finish] reports all at once.
// A Builder is not safe for concurrent use.
type Builder struct {
	name    string
	syms    []Sym
	nodes   []*Node
	sources map[string]Value // by kind and name
	scope   string
	pos     []Pos // overrides the caller's position while rewriting
	errs    []error
	helpers map[string]bool
	bad     *Node
}

// NewBuilder returns an empty builder for a graph of the given name.
func NewBuilder(name string) *Builder {
	b := &Builder{name: name, sources: map[string]Value{}, helpers: map[string]bool{}}
	b.bad = &Node{Op: poison, Out: []Type{{}}, owner: b}
	if name != "" && !isValueName(name) {
		b.fail(nil, fmt.Errorf("graph name %q: want letters, digits, dots and underscores", name))
	}
	return b
}

// BuildError is one mistake made while building a graph.
type BuildError struct {
	Pos Pos
	Op  string
	Err error
}

func (e *BuildError) Error() string {
	var s string
	if e.Pos.File != "" {
		s = e.Pos.String() + ": "
	}
	if e.Op != "" {
		s += e.Op + ": "
	}
	return s + e.Err.Error()
}

func (e *BuildError) Unwrap() error { return e.Err }

// Sym declares a bounded symbol and returns it as a dimension. Declaring the
// same symbol again with the same bounds is allowed.
func (b *Builder) Sym(name string, min, max int) Dim {
	d := Dim{Sym: name, Mul: 1}
	for _, s := range b.syms {
		if s.Name == name {
			if s.Min != min || s.Max != max {
				b.fail(nil, fmt.Errorf("symbol %s in %d..%d was declared in %d..%d", name, min, max, s.Min, s.Max))
			}
			return d
		}
	}
	if !isIdent(name) || min < 0 || max < min {
		b.fail(nil, fmt.Errorf("bad symbol %q in %d..%d", name, min, max))
	}
	b.syms = append(b.syms, Sym{name, min, max})
	return d
}

// Input declares a value that is given for every step.
func (b *Builder) Input(name string, elem DType, dims ...Dim) Value {
	return b.source(InputOp, name, T(elem, dims...))
}

// Param declares a weight. Declaring the same name twice returns the same
// value (a tied head), if the types agree.
func (b *Builder) Param(name string, elem DType, dims ...int) Value {
	return b.source(ParamOp, name, Type{Elem: elem, Shape: Dims(dims...)})
}

// State declares a value that lives across steps.
func (b *Builder) State(name string, elem DType, dims ...Dim) Value {
	return b.source(StateOp, name, T(elem, dims...))
}

func (b *Builder) source(op Op[NameAttrs], name string, t Type) Value {
	switch {
	case name == "":
		return b.fail(op.OpDef, errors.New("empty name"))
	case op.OpDef == InputOp.OpDef && !isValueName(name):
		// An input's name is its name in the textual form.
		return b.fail(op.OpDef, fmt.Errorf("name %q: want letters, digits, dots and underscores", name))
	}
	if err := checkType(t, b.syms); err != nil {
		return b.fail(op.OpDef, fmt.Errorf("%q: %w", name, err))
	}
	if op.OpDef == ParamOp.OpDef {
		for _, d := range t.Shape {
			if d.Sym != "" {
				return b.fail(op.OpDef, fmt.Errorf("%q: %s: a param's extents are constants", name, t))
			}
		}
	}
	key := op.Name + " " + name
	if v, ok := b.sources[key]; ok {
		if !v.Type().Equal(t) || op.OpDef == InputOp.OpDef {
			return b.fail(op.OpDef, fmt.Errorf("%q is declared twice, as %s and as %s", name, v.Type(), t))
		}
		return v
	}
	n := b.add(op.OpDef, NameAttrs{name}, nil, []Type{t})
	n.names = []string{hintFor(name)}
	b.sources[key] = n.Result(0)
	return n.Result(0)
}

// hintFor shortens "model.layers.0.mlp.up_proj.weight" to "up_proj".
func hintFor(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '/' })
	if n := len(parts); n > 1 && parts[n-1] == "weight" {
		return parts[n-2]
	} else if n > 0 {
		return parts[n-1]
	}
	return name
}

// Const adds a small constant tensor.
func (b *Builder) Const(t Tensor) Value {
	switch n, err := Count(t.Dims); {
	case err != nil:
		return b.fail(ConstOp.OpDef, err)
	case n > MaxConstElements:
		return b.fail(ConstOp.OpDef, fmt.Errorf("%d elements; larger than %d belongs in a param", n, MaxConstElements))
	case t.Elem.Size() == 0 || n*t.Elem.Size() != len(t.Data):
		return b.fail(ConstOp.OpDef, fmt.Errorf("%s with %d bytes", t.Type(), len(t.Data)))
	}
	n := b.add(ConstOp.OpDef, ConstAttrs{string(t.Data)}, nil, []Type{t.Type()})
	return n.Result(0)
}

// ConstF32 adds a scalar f32 constant.
func (b *Builder) ConstF32(v float32) Value { return b.Const(FromF32([]float32{v})) }

// Scope enters a named scope and returns the function that leaves it:
//
//	defer b.Scope("attn")()
func (b *Builder) Scope(name string) (leave func()) {
	old := b.scope
	if b.scope != "" {
		name = b.scope + "." + name
	}
	b.scope = name
	return func() { b.scope = old }
}

// Path returns name inside the current scope, for naming params.
func (b *Builder) Path(name string) string {
	if b.scope == "" {
		return name
	}
	return b.scope + "." + name
}

// Name gives v a name for printing and returns v.
func (b *Builder) Name(v Value, name string) Value {
	if v.Valid() && v.node.owner == b && isWord(name) {
		for len(v.node.names) < len(v.node.Out) {
			v.node.names = append(v.node.names, "")
		}
		v.node.names[v.res] = name
	}
	return v
}

// Helper marks the calling function as a wrapper, as testing.T.Helper does:
// positions are then reported at its caller's line.
func Helper(v Value) {
	b := v.Builder()
	if b == nil {
		return
	}
	var pc [1]uintptr
	if runtime.Callers(2, pc[:]) == 1 {
		f, _ := runtime.CallersFrames(pc[:]).Next()
		b.helpers[f.Function] = true
	}
}

// Errorf records a mistake at the caller's position and returns a poisoned
// value.
func (b *Builder) Errorf(format string, args ...any) Value {
	return b.fail(nil, fmt.Errorf(format, args...))
}

func (b *Builder) fail(op *OpDef, err error) Value {
	e := &BuildError{Err: err}
	if op != nil {
		e.Op = op.Name
	}
	if pos := b.position(op); len(pos) > 0 {
		e.Pos = pos[0]
	}
	b.errs = append(b.errs, e)
	return Value{b.bad, 0}
}

// Err returns the mistakes so far.
func (b *Builder) Err() error { return errors.Join(b.errs...) }

func emit(op *OpDef, attrs any, in []Value) []Value {
	var b *Builder
	for _, v := range in {
		if b = v.Builder(); b != nil {
			break
		}
	}
	if b == nil {
		return make([]Value, max(1, len(op.Out)))
	}
	return b.Emit(op, attrs, in...)
}

// Emit adds a node; see [Op.Emit]. It serves ops without operands and code that
// handles ops it does not know.
func (b *Builder) Emit(op *OpDef, attrs any, in ...Value) []Value {
	fail := func(err error) []Value {
		out := make([]Value, max(1, len(op.Out)))
		for i := range out {
			out[i] = Value{b.bad, 0}
		}
		if err != nil {
			b.fail(op, err)
		}
		return out
	}
	types := make([]Type, len(in))
	for i, v := range in {
		switch {
		case v.node == nil:
			return fail(fmt.Errorf("operand %s is no value", op.operand(i)))
		case v.node.owner != b:
			return fail(fmt.Errorf("operand %s belongs to another graph", op.operand(i)))
		case !v.Valid():
			return fail(nil)
		}
		types[i] = v.Type()
	}
	out, err := op.InferTypes(attrs, types)
	if err != nil {
		return fail(fmt.Errorf("%w; operands are %s", err, typeList(types)))
	}
	for _, t := range out {
		if err := checkType(t, b.syms); err != nil {
			return fail(fmt.Errorf("%w; operands are %s", err, typeList(types)))
		}
	}
	return b.add(op, attrs, in, out).Results()
}

func (b *Builder) add(op *OpDef, attrs any, in []Value, out []Type) *Node {
	n := &Node{Op: op, Attrs: attrs, In: slices.Clone(in), Out: slices.Clone(out), Pos: b.position(op), Scope: b.scope, owner: b}
	b.nodes = append(b.nodes, n)
	return n
}

func (op *OpDef) operand(i int) string {
	if i < len(op.In) {
		return op.In[i]
	}
	return fmt.Sprintf("%d", i)
}

func typeList(ts []Type) string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = t.String()
	}
	return "(" + strings.Join(s, ", ") + ")"
}

const pkgPath = "github.com/trit-ml/trit/graph."

// position is the first frame outside this package, the file that defines op,
// and functions marked with Helper.
func (b *Builder) position(op *OpDef) []Pos {
	if b.pos != nil {
		return b.pos
	}
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		own := strings.HasPrefix(f.Function, pkgPath) && !strings.HasSuffix(f.File, "_test.go")
		def := op != nil && f.File == op.file && !strings.HasSuffix(f.File, "_test.go")
		if !own && !def && !b.helpers[f.Function] && f.File != "" {
			return []Pos{{f.File, f.Line}}
		}
		if !more {
			return nil
		}
	}
}

// Finish checks the graph and returns it with the given outputs. Nodes that no
// output and no state update needs are left out. The error joins every mistake
// made while building.
func (b *Builder) Finish(outs ...Value) (*Graph, error) {
	for i, v := range outs {
		switch {
		case v.node == nil:
			b.fail(nil, fmt.Errorf("output %d is no value", i))
		case v.node.owner != b:
			b.fail(nil, fmt.Errorf("output %d belongs to another graph", i))
		}
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	g := &Graph{Name: b.name, Syms: slices.Clone(b.syms), Outs: slices.Clone(outs)}
	live := map[*Node]bool{}
	var mark func(n *Node)
	mark = func(n *Node) {
		if live[n] {
			return
		}
		live[n] = true
		for _, v := range n.In {
			mark(v.node)
		}
	}
	for _, v := range outs {
		mark(v.node)
	}
	for _, n := range b.nodes {
		// Inputs stay, so that a graph's signature does not depend on what
		// passes prune; state updates are effects.
		if len(n.Op.Updates) > 0 || n.Op == InputOp.OpDef {
			mark(n)
		}
	}
	for _, n := range b.nodes {
		if live[n] {
			g.Nodes = append(g.Nodes, n)
		}
	}
	if err := Verify(g, AnyPhase); err != nil {
		return nil, err
	}
	return g, nil
}
