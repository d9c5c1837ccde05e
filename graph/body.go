package graph

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Body is the meaning of a fused op: statements over other ops.
type Body struct {
	In, Out []string
	Stmts   []Stmt
}

// parseBody reads "(%x, %g) -> (%y) { … }", one statement a line.
func parseBody(text string, ops OpSet, owner *OpDef) (*Body, error) {
	head, rest, ok := strings.Cut(strings.TrimSpace(text), "{")
	rest = strings.TrimSpace(rest)
	if !ok || !strings.HasSuffix(rest, "}") {
		return nil, fmt.Errorf("want (%%in) -> (%%out) { … }")
	}
	sc := &scanner{s: head}
	var body Body
	for i, dst := range []*[]string{&body.In, &body.Out} {
		if i == 1 {
			if err := sc.expect("->"); err != nil {
				return nil, err
			}
		}
		if err := sc.expect("("); err != nil {
			return nil, err
		}
		names, err := sc.valueNames()
		if err != nil {
			return nil, err
		}
		*dst = names
		if err := sc.expect(")"); err != nil {
			return nil, err
		}
	}
	if r := sc.rest(); r != "" {
		return nil, fmt.Errorf("unexpected %q before {", r)
	}
	defined := map[string]bool{}
	for _, n := range body.In {
		if defined[n] {
			return nil, fmt.Errorf("operand %%%s is named twice", n)
		}
		defined[n] = true
	}
	for _, l := range strings.Split(rest[:len(rest)-1], "\n") {
		if code, _ := cutComment(l); strings.TrimSpace(code) == "" {
			continue
		}
		st, err := parseStmt(strings.TrimSpace(l), ops)
		if err != nil {
			return nil, err
		}
		if err := owner.checkBodyStmt(st, defined); err != nil {
			return nil, err
		}
		for _, n := range st.Out {
			if defined[n] {
				return nil, fmt.Errorf("%%%s is defined twice", n)
			}
			defined[n] = true
		}
		body.Stmts = append(body.Stmts, *st)
	}
	for _, n := range body.Out {
		if !defined[n] {
			return nil, fmt.Errorf("result %%%s is not defined", n)
		}
	}
	return &body, nil
}

func (op *OpDef) checkBodyStmt(st *Stmt, defined map[string]bool) error {
	switch {
	case st.Op == ParamOp.OpDef || st.Op == StateOp.OpDef:
		return fmt.Errorf("a body cannot declare a %s", st.Op.Name)
	case st.Op.err != nil:
		return st.Op.err
	case len(st.Out) != len(st.Op.Out):
		return fmt.Errorf("%s gives %d results, %d are named", st.Op.Name, len(st.Op.Out), len(st.Out))
	case len(st.In) != len(st.Op.In) && !st.Op.Variadic:
		return fmt.Errorf("%s wants %d operands, got %d", st.Op.Name, len(st.Op.In), len(st.In))
	}
	for _, n := range st.In {
		if !defined[n] {
			return fmt.Errorf("%%%s is not defined", n)
		}
	}
	for _, a := range st.Attrs {
		if ref, ok := strings.CutPrefix(a.Value, "$"); ok {
			if _, ok := attrString(reflect.Zero(op.attrType).Interface(), ref); !ok {
				return fmt.Errorf("$%s is no attribute of %s", ref, op.Name)
			}
		}
	}
	if st.Op == ConstOp.OpDef {
		return nil
	}
	_, err := st.ResolveAttrs(reflect.Zero(op.attrType).Interface())
	return err
}

// updates finds the operands that the body updates in place and the results
// that hold them afterwards, in the order of the operands.
func (body *Body) updates() ([]Update, error) {
	operand := map[string]int{} // of the names that are an operand's state
	for i, n := range body.In {
		operand[n] = i
	}
	now := map[int]string{} // the last name of each updated operand
	for _, st := range body.Stmts {
		for _, u := range st.Op.Updates {
			i, ok := operand[st.In[u.In]]
			if !ok {
				return nil, fmt.Errorf("%s updates %%%s, which is no operand's state", st.Op.Name, st.In[u.In])
			}
			now[i] = st.Out[u.Out]
			operand[st.Out[u.Out]] = i
		}
	}
	var us []Update
	for i := range body.In {
		last, ok := now[i]
		if !ok {
			continue
		}
		j := slices.Index(body.Out, last)
		if j < 0 {
			return nil, fmt.Errorf("operand %%%s is updated in place, but %%%s is no result", body.In[i], last)
		}
		us = append(us, Update{In: i, Out: j})
	}
	return us, nil
}

// attrString formats one attribute, also if it is zero.
func attrString(attrs any, name string) (string, bool) {
	v := reflect.ValueOf(attrs)
	fs, err := attrFields(v.Type())
	if err != nil {
		return "", false
	}
	for _, f := range fs {
		if f.name == name {
			return formatAttr(v.Field(f.index)), true
		}
	}
	return "", false
}

// ResolveAttrs returns the attributes of statement st inside a use of the fused
// op with the given attributes.
func (st *Stmt) ResolveAttrs(owner any) (any, error) {
	list := make([]Attr, len(st.Attrs))
	for i, a := range st.Attrs {
		if ref, ok := strings.CutPrefix(a.Value, "$"); ok {
			s, ok := attrString(owner, ref)
			if !ok {
				return nil, fmt.Errorf("no attribute $%s", ref)
			}
			a.Value = s
		}
		list[i] = a
	}
	return st.Op.parseAttrs(list)
}

// BindAttrs is the inverse of ResolveAttrs for matching: it compares the
// attributes of a node with the statement's and records what each $name of the
// fused op must be. On a contradiction it reports false and records nothing.
func (st *Stmt) BindAttrs(attrs any, bound map[string]string) bool {
	found := map[string]string{}
	want := map[string]string{}
	for _, a := range st.Attrs {
		want[a.Name] = a.Value
	}
	v := reflect.ValueOf(attrs)
	for _, f := range st.Op.attrs {
		fv := v.Field(f.index)
		w, named := want[f.name]
		switch {
		case !named:
			if !isZero(fv) {
				return false
			}
		case strings.HasPrefix(w, "$"):
			got := formatAttr(fv)
			if old, ok := bound[w[1:]]; ok && old != got {
				return false
			}
			if old, ok := found[w[1:]]; ok && old != got {
				return false
			}
			found[w[1:]] = got
		default:
			x := reflect.New(fv.Type()).Elem()
			if setAttr(x, w) != nil || x.Interface() != fv.Interface() {
				return false
			}
		}
	}
	maps.Copy(bound, found)
	return true
}

// MakeAttrs builds the fused op's attributes from bindings.
func (op *OpDef) MakeAttrs(bound map[string]string) (any, error) {
	var list []Attr
	for _, f := range op.attrs {
		if s, ok := bound[f.name]; ok {
			list = append(list, Attr{f.name, s})
		}
	}
	return op.parseAttrs(list)
}

// Inline emits the body of a fused op into b.
func (op *OpDef) Inline(b *Builder, attrs any, in []Value) ([]Value, error) {
	if op.Body == nil {
		return nil, fmt.Errorf("op %s has no body", op.Name)
	}
	return op.Body.emit(b, attrs, in)
}

func (body *Body) emit(b *Builder, attrs any, in []Value) ([]Value, error) {
	if len(in) != len(body.In) {
		return nil, fmt.Errorf("want %d operands, got %d", len(body.In), len(in))
	}
	vals := map[string]Value{}
	for i, n := range body.In {
		vals[n] = in[i]
	}
	for i := range body.Stmts {
		st := &body.Stmts[i]
		if st.Op == ConstOp.OpDef {
			vals[st.Out[0]] = b.Const(st.Const)
			continue
		}
		a, err := st.ResolveAttrs(attrs)
		if err != nil {
			return nil, err
		}
		args := make([]Value, len(st.In))
		for j, n := range st.In {
			args[j] = vals[n]
		}
		outs := b.Emit(st.Op, a, args...)
		if len(outs) != len(st.Out) {
			return nil, fmt.Errorf("%s gives %d results, %d are named", st.Op.Name, len(outs), len(st.Out))
		}
		for j, n := range st.Out {
			vals[n] = b.Name(outs[j], n)
		}
	}
	outs := make([]Value, len(body.Out))
	for i, n := range body.Out {
		outs[i] = vals[n]
	}
	return outs, nil
}

// scratch builds the body as a graph of its own over operands of the given
// types. Symbols get wide bounds; the real ones were checked where they come
// from.
func (body *Body) scratch(attrs any, in []Type) (*Builder, []Value, error) {
	b := NewBuilder("body")
	b.pos = []Pos{}
	var vals []Value
	for i, t := range in {
		for _, d := range t.Shape {
			if d.Sym != "" {
				b.Sym(d.Sym, 1<<20, 1<<20)
			}
		}
		name := fmt.Sprintf("in%d", i)
		n := b.add(InputOp.OpDef, NameAttrs{name}, nil, []Type{t})
		vals = append(vals, n.Result(0))
	}
	outs, err := body.emit(b, attrs, vals)
	if err != nil {
		return nil, nil, err
	}
	if len(b.errs) > 0 {
		e, _ := b.errs[0].(*BuildError)
		return nil, nil, fmt.Errorf("inside, %s: %w", e.Op, e.Err)
	}
	return b, outs, nil
}

func (body *Body) inferTypes(attrs any, in []Type) ([]Type, error) {
	_, outs, err := body.scratch(attrs, in)
	if err != nil {
		return nil, err
	}
	types := make([]Type, len(outs))
	for i, v := range outs {
		types[i] = v.Type()
	}
	return types, nil
}

func (body *Body) run(attrs any, in, out []Tensor) error {
	types := make([]Type, len(in))
	env := Env{Inputs: map[string]Tensor{}}
	for i, t := range in {
		types[i] = t.Type()
		env.Inputs[fmt.Sprintf("in%d", i)] = t
	}
	b, outs, err := body.scratch(attrs, types)
	if err != nil {
		return err
	}
	// Not Finish: operands that a real graph holds as states are plain here.
	got, err := evalNodes(b.nodes, outs, nil, env)
	if err != nil {
		return err
	}
	for i, t := range got {
		copy(out[i].Data, t.Data)
	}
	return nil
}
