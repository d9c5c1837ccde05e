package jinja

import (
	"fmt"
	"unicode/utf8"
)

// expr is an expression. eval must be called through run.eval, which counts.
type expr interface {
	eval(r *run, s *scope) (any, error)
	pos() int // line, 0 if errors are not possible
}

func (r *run) eval(e expr, s *scope) (any, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return nil, at(e.pos(), err)
	}
	v, err := e.eval(r, s)
	if err != nil {
		return nil, at(e.pos(), err)
	}
	return v, nil
}

// evalAll evaluates expressions in order.
func (r *run) evalAll(list []expr, s *scope) ([]any, error) {
	values := make([]any, len(list))
	for i, e := range list {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// scope holds variables. Reading looks outwards, writing does not.
type scope struct {
	vars  map[string]any
	outer *scope
}

func (s *scope) inner() *scope { return &scope{outer: s} }

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.outer {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) set(name string, v any) {
	if s.vars == nil {
		s.vars = map[string]any{}
	}
	s.vars[name] = v
}

type literal struct{ value any }

func (e *literal) pos() int                       { return 0 }
func (e *literal) eval(*run, *scope) (any, error) { return e.value, nil }

type variable struct {
	line int
	name string
}

func (e *variable) pos() int { return e.line }
func (e *variable) eval(r *run, s *scope) (any, error) {
	if v, ok := s.get(e.name); ok {
		return v, nil
	}
	return undefined{"'" + e.name + "'"}, nil
}

type listLit struct {
	line  int
	items []expr
	tuple bool
}

func (e *listLit) pos() int { return e.line }
func (e *listLit) eval(r *run, s *scope) (any, error) {
	if err := r.take(16 * len(e.items)); err != nil {
		return nil, err
	}
	items, err := r.evalAll(e.items, s)
	return &List{items: items, tuple: e.tuple}, err
}

type dictLit struct {
	line         int
	keys, values []expr
}

func (e *dictLit) pos() int { return e.line }
func (e *dictLit) eval(r *run, s *scope) (any, error) {
	if err := r.take(64 * len(e.keys)); err != nil {
		return nil, err
	}
	d := &Dict{}
	for i := range e.keys {
		k, err := r.eval(e.keys[i], s)
		if err != nil {
			return nil, err
		}
		if !hashable(k) {
			return nil, fmt.Errorf("%s cannot be a key", typeName(k))
		}
		v, err := r.eval(e.values[i], s)
		if err != nil {
			return nil, err
		}
		d.set(k, v)
	}
	return d, nil
}

type conditional struct {
	line          int
	cond, yes, no expr // no may be nil
}

func (e *conditional) pos() int { return e.line }
func (e *conditional) eval(r *run, s *scope) (any, error) {
	c, err := r.eval(e.cond, s)
	switch {
	case err != nil:
		return nil, err
	case truth(c):
		return r.eval(e.yes, s)
	case e.no != nil:
		return r.eval(e.no, s)
	}
	return undefined{"the inline if without else, whose condition is false,"}, nil
}

// logic is "and" and "or": the value of the operand that decides.
type logic struct {
	line        int
	left, right expr
	or          bool
}

func (e *logic) pos() int { return e.line }
func (e *logic) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.left, s)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return r.eval(e.right, s)
}

type not struct {
	line int
	e    expr
}

func (e *not) pos() int { return e.line }
func (e *not) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	return !truth(v), err
}

type sign struct {
	line  int
	minus bool
	e     expr
}

func (e *sign) pos() int { return e.line }
func (e *sign) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	if err != nil {
		return nil, err
	}
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	n, isInt := number(v)
	switch {
	case n == nil:
		return nil, fmt.Errorf("a sign before %s", typeName(v))
	case isInt && e.minus:
		return arithmetic("-", 0, n)
	case e.minus:
		return -n.(float64), nil
	}
	return n, nil
}

type operand struct {
	op string
	e  expr
}

// comparison is a chain such as a < b < c.
type comparison struct {
	line  int
	first expr
	rest  []operand
}

func (e *comparison) pos() int { return e.line }
func (e *comparison) eval(r *run, s *scope) (any, error) {
	left, err := r.eval(e.first, s)
	for _, o := range e.rest {
		if err != nil {
			return nil, err
		}
		var right any
		if right, err = r.eval(o.e, s); err != nil {
			return nil, err
		}
		ok, err := r.compare(o.op, left, right)
		if err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, err
}

type binary struct {
	line        int
	op          string
	left, right expr
}

func (e *binary) pos() int { return e.line }
func (e *binary) eval(r *run, s *scope) (any, error) {
	left, err := r.eval(e.left, s)
	if err != nil {
		return nil, err
	}
	right, err := r.eval(e.right, s)
	if err != nil {
		return nil, err
	}
	return r.operate(e.op, left, right)
}

// attribute is e.name: a method first, then an element.
type attribute struct {
	line int
	e    expr
	name string
}

func (e *attribute) pos() int { return e.line }
func (e *attribute) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	if err != nil {
		return nil, err
	}
	return r.attribute(v, e.name)
}

func (r *run) attribute(v any, name string) (any, error) {
	switch v := v.(type) {
	case undefined:
		return nil, v.err()
	case *loop:
		if a, ok := v.attribute(name); ok {
			return a, nil
		}
	case string:
		if m := strMethods[name]; m != nil {
			return bind(r, m, v), nil
		}
	case *List:
		if m := listMethods[name]; m != nil && !v.lazy {
			return bind(r, m, v), nil
		}
	case *Dict:
		if m := dictMethods[name]; m != nil && !v.space {
			return bind(r, m, v), nil
		}
		if item, ok := v.get(name); ok {
			return item, nil
		}
	}
	return undefined{fmt.Sprintf("'%s' of %s", name, typeName(v))}, nil
}

// index is e[i]: an element first, then a method.
type index struct {
	line  int
	e, at expr
}

func (e *index) pos() int { return e.line }
func (e *index) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	if err != nil {
		return nil, err
	}
	i, err := r.eval(e.at, s)
	if err != nil {
		return nil, err
	}
	return r.index(v, i)
}

func (r *run) index(v, i any) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if d, ok := v.(*Dict); ok && !d.space {
		if item, ok := d.get(i); ok {
			return item, nil
		}
	}
	if name, ok := i.(string); ok {
		return r.attribute(v, name)
	}
	n, isInt := number(i)
	if isInt {
		n := n.(int)
		switch v := v.(type) {
		case *List:
			if n < 0 {
				n += len(v.items)
			}
			if n >= 0 && n < len(v.items) {
				return v.items[n], nil
			}
		case string:
			if err := r.look(len(v)); err != nil {
				return nil, err
			}
			if n < 0 {
				n += utf8.RuneCountInString(v)
			}
			for _, c := range v {
				if n == 0 {
					return string(c), nil
				}
				n--
			}
		}
	}
	return undefined{fmt.Sprintf("element %.40s of %s", keyText(i), typeName(v))}, nil
}

func keyText(i any) string {
	switch i := i.(type) {
	case *List, *Dict:
		return typeName(i)
	}
	return toStr(i)
}

// slice is e[start:stop:step].
type slice struct {
	line  int
	e     expr
	parts [3]expr
}

func (e *slice) pos() int { return e.line }
func (e *slice) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	if err != nil {
		return nil, err
	}
	var parts [3]*int
	for i, part := range e.parts {
		if part == nil {
			continue
		}
		p, err := r.eval(part, s)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		n, isInt := number(p)
		if !isInt {
			return nil, fmt.Errorf("%s as part of a slice", typeName(p))
		}
		k := n.(int)
		parts[i] = &k
	}
	return r.slice(v, parts)
}

func (r *run) slice(v any, parts [3]*int) (any, error) {
	var items []any
	switch v := v.(type) {
	case *List:
		items = v.items
	case string:
		var err error
		if items, err = r.iterate(v); err != nil {
			return nil, err
		}
	case undefined:
		return nil, v.err()
	default:
		return nil, fmt.Errorf("a slice of %s", typeName(v))
	}
	picked, err := r.pick(items, parts)
	if err != nil {
		return nil, err
	}
	if l, ok := v.(*List); ok {
		return &List{items: picked, tuple: l.tuple}, nil
	}
	text := make([]byte, 0, len(picked))
	for _, c := range picked {
		text = append(text, c.(string)...)
	}
	return string(text), nil
}

// pick takes the elements that Python's start:stop:step means.
func (r *run) pick(items []any, parts [3]*int) ([]any, error) {
	step := 1
	if parts[2] != nil {
		step = *parts[2]
	}
	n := len(items)
	low, high := 0, n // the range of bounds
	start, stop := 0, n
	switch {
	case step == 0:
		return nil, fmt.Errorf("a slice with a step of 0")
	case step < 0:
		low, high = -1, n-1
		start, stop = n-1, -1
	}
	bound := func(p *int, otherwise int) int {
		if p == nil {
			return otherwise
		}
		i := *p
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	start, stop = bound(parts[0], start), bound(parts[1], stop)
	var out []any
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		out = append(out, items[i])
		if next := i + step; step > 0 == (next > i) {
			i = next
		} else {
			break // overflow
		}
	}
	return out, r.take(16 * len(out))
}

type args struct {
	list  []expr
	names []string
	named []expr
}

func (r *run) args(a args, s *scope) (*Args, error) {
	list, err := r.evalAll(a.list, s)
	if err != nil {
		return nil, err
	}
	out := &Args{List: list, run: r}
	for i, name := range a.names {
		v, err := r.eval(a.named[i], s)
		if err != nil {
			return nil, err
		}
		if out.Named == nil {
			out.Named = map[string]any{}
		}
		if _, twice := out.Named[name]; twice {
			return nil, fmt.Errorf("the argument '%s' is given twice", name)
		}
		out.Named[name] = v
	}
	return out, nil
}

type call struct {
	line int
	f    expr
	args args
}

func (e *call) pos() int { return e.line }
func (e *call) eval(r *run, s *scope) (any, error) {
	f, err := r.eval(e.f, s)
	if err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case Func:
		a, err := r.args(e.args, s)
		if err != nil {
			return nil, err
		}
		return f(a)
	case undefined:
		return nil, f.err()
	}
	return nil, fmt.Errorf("%s cannot be called", typeName(f))
}

type filterExpr struct {
	line int
	in   expr
	name string
	args args
}

func (e *filterExpr) pos() int { return e.line }
func (e *filterExpr) eval(r *run, s *scope) (any, error) {
	in, err := r.eval(e.in, s)
	if err != nil {
		return nil, err
	}
	a, err := r.args(e.args, s)
	if err != nil {
		return nil, err
	}
	return r.filter(e.name, in, a)
}

func (r *run) filter(name string, in any, a *Args) (any, error) {
	f := r.filters[name]
	if f == nil {
		return nil, fmt.Errorf("the filter '%s' is not supported in chat templates", name)
	}
	v, err := f(r, in, a)
	if err != nil {
		return nil, fmt.Errorf("filter %s: %w", name, err)
	}
	return v, nil
}

type testExpr struct {
	line    int
	in      expr
	name    string
	args    args
	negated bool
}

func (e *testExpr) pos() int { return e.line }
func (e *testExpr) eval(r *run, s *scope) (any, error) {
	in, err := r.eval(e.in, s)
	if err != nil {
		return nil, err
	}
	a, err := r.args(e.args, s)
	if err != nil {
		return nil, err
	}
	ok, err := r.test(e.name, in, a)
	return ok != e.negated, err
}

func (r *run) test(name string, in any, a *Args) (bool, error) {
	f := tests[name]
	if f == nil {
		return false, fmt.Errorf("the test '%s' is not supported in chat templates", name)
	}
	ok, err := f(r, in, a)
	if err != nil {
		return false, fmt.Errorf("test %s: %w", name, err)
	}
	return ok, nil
}

// captured stands for the text of a {% set %} block while its filters run.
type captured struct{}

// capturedName cannot be a template's own variable.
const capturedName = "(text)"

func (e *captured) pos() int { return 0 }
func (e *captured) eval(_ *run, s *scope) (any, error) {
	v, _ := s.get(capturedName)
	return v, nil
}
