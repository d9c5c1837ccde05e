package graph

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// Phase is a stage of a graph's life. An op may be illegal in some of them, so
// that a forgotten rewrite is an error and not a slow or wrong program.
type Phase uint8

// The phases in which a graph is verified.
const (
	Declared  Phase = 1 << iota // as the model declares it
	Training                    // after the train pipeline
	Inferring                   // after the infer pipeline
	AnyPhase  Phase = 0
)

func (p Phase) String() string {
	switch p {
	case Declared:
		return "declared"
	case Training:
		return "training"
	case Inferring:
		return "inferring"
	}
	return "any"
}

// Update says that result Out is operand In after an update in place. The
// operand must be a state value, and the op is then its only writer.
type Update struct{ In, Out int }

// OpDef is the definition of an op. It is made by [Define] and not changed
// afterwards; two definitions are the same op only if they are the same pointer.
type OpDef struct {
	Name     string
	Doc      string
	In, Out  []string // operand and result names
	Variadic bool     // the last operand may repeat, or be absent
	Commutes bool
	Exact    bool
	View     bool
	Updates  []Update
	Rowwise  []int
	Phases   Phase
	Body     *Body   // nil for a primitive op
	BF16     *Narrow // nil if the op has no form in bf16

	file     string
	attrType reflect.Type
	attrs    []attrField
	err      error
	infer    func(attrs any, in []Type) ([]Type, error)
	ref      func(attrs any, in, out []Tensor) error
	grad     func(attrs any, c *GradCtx) ([]Value, error)
}

// Def declares an op with attributes of type A. A primitive op has Infer, Ref
// and, if it is differentiable, Grad; a fused op has Body and Uses only.
type Def[A comparable] struct {
	Name string // dotted lower-case, such as "quant.act"
	Doc  string // one sentence with shapes

	// In and Out name operands and results: "x, w". A last operand written
	// "xs..." may repeat.
	In, Out string

	Commutes bool     // the first two operands may be exchanged
	Exact    bool     // results are bit-identical on every device
	View     bool     // the result is the first operand's memory with another shape
	Updates  []Update // operands updated in place; a body implies them
	Rowwise  []int    // operands of which row i is all that row i of the results needs
	Phases   Phase    // phases in which the op is legal; AnyPhase by default

	// BF16 lists the f32 operands and results of a primitive op that may be bf16
	// instead, such as "x, dy -> dx": see [Narrow].
	BF16 string

	// Infer returns the result types, or an error that says what was wanted.
	Infer func(a A, in []Type) ([]Type, error)
	// Ref computes the results; out is allocated with the inferred shapes.
	Ref func(a A, in, out []Tensor) error
	// Grad returns the gradient of each operand; an invalid Value means none.
	Grad func(a A, c *GradCtx) ([]Value, error)

	// Body is the meaning of a fused op in the textual form,
	// "(%x) -> (%y) { … }", over the ops listed in Uses. "$name" stands for
	// the fused op's own attribute of that name.
	Body string
	Uses []*OpDef
}

// Op is a defined op together with its attribute type.
type Op[A comparable] struct{ *OpDef }

// Define makes an op. A definition error is reported by every use of the op.
func Define[A comparable](d Def[A]) Op[A] {
	op := &OpDef{
		Name: d.Name, Doc: d.Doc, Commutes: d.Commutes, Exact: d.Exact,
		View: d.View, Updates: d.Updates, Rowwise: d.Rowwise, Phases: d.Phases,
		attrType: reflect.TypeFor[A](),
	}
	_, op.file, _, _ = runtime.Caller(1)
	op.In, op.Variadic = splitNames(d.In)
	op.Out, _ = splitNames(d.Out)
	var errs []error
	if !isWord(d.Name) || reserved[d.Name] {
		errs = append(errs, fmt.Errorf("bad op name %q", d.Name))
	}
	fields, err := attrFields(op.attrType)
	if err != nil {
		errs = append(errs, err)
	}
	op.attrs = fields
	if d.Body != "" {
		op.Body, err = parseBody(d.Body, NewOpSet(d.Uses...), op)
		if err != nil {
			errs = append(errs, fmt.Errorf("body: %w", err))
		} else {
			op.In, op.Out = op.Body.In, op.Body.Out
		}
		if d.In != "" || d.Out != "" || d.Infer != nil || d.Ref != nil {
			errs = append(errs, errors.New("a body declares operands, types and reference; leave In, Out, Infer and Ref out"))
		}
		if d.BF16 != "" {
			errs = append(errs, errors.New("a body says by its ops what may be bf16; leave BF16 out"))
		}
	} else {
		if d.Infer == nil {
			errs = append(errs, errors.New("no Infer and no Body"))
		}
		if len(op.Out) == 0 {
			errs = append(errs, errors.New("no results"))
		}
		if op.BF16, err = parseNarrow(d.BF16, op); err != nil {
			errs = append(errs, err)
		}
	}
	if op.Body != nil {
		us, err := op.Body.updates()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("body: %w", err))
		case d.Updates == nil:
			op.Updates = us
		case !slices.Equal(us, d.Updates):
			errs = append(errs, fmt.Errorf("Updates is %v, the body says %v", d.Updates, us))
		}
	}
	for _, u := range op.Updates {
		if u.In < 0 || u.In >= len(op.In) || u.Out < 0 || u.Out >= len(op.Out) {
			errs = append(errs, fmt.Errorf("update of operand %d as result %d is out of range", u.In, u.Out))
		}
	}
	if d.Infer != nil {
		op.infer = func(a any, in []Type) ([]Type, error) { return d.Infer(a.(A), in) }
	}
	if d.Ref != nil {
		op.ref = func(a any, in, out []Tensor) error { return d.Ref(a.(A), in, out) }
	}
	if d.Grad != nil {
		op.grad = func(a any, c *GradCtx) ([]Value, error) { return d.Grad(a.(A), c) }
	}
	if err := errors.Join(errs...); err != nil {
		op.err = fmt.Errorf("op %s: %w", d.Name, err)
	}
	return Op[A]{op}
}

// reserved are the words that statements of the textual form begin with.
var reserved = map[string]bool{"graph": true, "input": true, "param": true, "state": true,
	"const": true, "scope": true, "return": true, "poison": true}

func splitNames(s string) (names []string, variadic bool) {
	for _, f := range strings.Split(s, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		f, variadic = strings.CutSuffix(f, "...")
		names = append(names, f)
	}
	return names, variadic
}

// Emit adds a node to the builder that owns the operands and returns its
// results. On a mistake the error is recorded at the caller's line and poisoned
// values are returned.
func (o Op[A]) Emit(a A, in ...Value) []Value { return emit(o.OpDef, a, in) }

// One is Emit for an op with a single result.
func (o Op[A]) One(a A, in ...Value) Value { return emit(o.OpDef, a, in)[0] }

// Of returns n's attributes; ok is false if n is another op.
func (o Op[A]) Of(n *Node) (a A, ok bool) {
	if n == nil || n.Op != o.OpDef {
		return a, false
	}
	a, ok = n.Attrs.(A)
	return a, ok
}

// Err returns what is wrong with the definition itself.
func (op *OpDef) Err() error { return op.err }

// InferTypes applies the op's type rule.
func (op *OpDef) InferTypes(attrs any, in []Type) (out []Type, err error) {
	if op.err != nil {
		return nil, op.err
	}
	fixed := len(op.In)
	if op.Variadic {
		fixed--
	}
	if len(in) < fixed || len(in) > fixed && !op.Variadic {
		return nil, fmt.Errorf("want %d operands (%s), got %d", len(op.In), strings.Join(op.In, ", "), len(in))
	}
	if reflect.TypeOf(attrs) != op.attrType {
		return nil, fmt.Errorf("attributes are %T, want %s", attrs, op.attrType)
	}
	// Layouts are chosen by lowering; type rules neither see nor pass them on.
	if slices.ContainsFunc(in, func(t Type) bool { return t.Layout != "" }) {
		in = slices.Clone(in)
		for i := range in {
			in[i].Layout = ""
		}
	}
	narrow := op.BF16 != nil && len(in) > 0 && op.InBF16(func(i int) DType { return in[i].Elem })
	if narrow {
		if in, err = op.widenTypes(in); err != nil {
			return nil, err
		}
	}
	if op.infer != nil {
		out, err = op.infer(attrs, in)
	} else {
		out, err = op.Body.inferTypes(attrs, in)
	}
	if err == nil && len(out) != len(op.Out) {
		err = fmt.Errorf("type rule gives %d results, the definition names %d", len(out), len(op.Out))
	}
	if narrow && err == nil {
		out = op.narrowTypes(out)
	}
	return out, err
}

// HasRef reports whether the op can be run by the interpreter.
func (op *OpDef) HasRef() bool { return op.ref != nil || op.Body != nil }

// Run computes the op's results with its reference implementation. The out
// tensors must have the inferred shapes.
func (op *OpDef) Run(attrs any, in, out []Tensor) error {
	switch {
	case op.err != nil:
		return op.err
	case op.ref != nil && op.BF16 != nil && len(in) > 0 && op.InBF16(func(i int) DType { return in[i].Elem }):
		return op.runWide(attrs, in, out)
	case op.ref != nil:
		return op.ref(attrs, in, out)
	case op.Body != nil:
		return op.Body.run(attrs, in, out)
	}
	return fmt.Errorf("op %s has no reference implementation", op.Name)
}

// OpSet maps names to ops, for parsing.
type OpSet map[string]*OpDef

// NewOpSet returns the set of the given ops.
func NewOpSet(ops ...*OpDef) OpSet {
	s := OpSet{}
	for _, op := range ops {
		s[op.Name] = op
	}
	return s
}

// With returns a set that also holds the given ops.
func (s OpSet) With(ops ...*OpDef) OpSet {
	t := make(OpSet, len(s)+len(ops))
	for k, v := range s {
		t[k] = v
	}
	for _, op := range ops {
		t[op.Name] = op
	}
	return t
}
