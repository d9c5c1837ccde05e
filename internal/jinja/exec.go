package jinja

import (
	"context"
	"fmt"
	"strings"
)

// Template is a parsed template. It does not change and is safe for
// concurrent use.
type Template struct{ body []stmt }

// Parse reads a template. Errors are of type *[Error].
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, &Error{1, fmt.Errorf("the template has %d bytes, more than %d", len(source), maxSource)}
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	body, err := parse(tokens)
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// Render writes the template with the given variables, whose values are nil,
// bool, int, float64, string, *[List], *[Dict] or [Func]. An error is an *[Error]
// and wraps *[Raised] where the template refused its input.
func (t *Template) Render(ctx context.Context, vars map[string]any, limits Limits) (string, error) {
	standard := DefaultLimits(0)
	if limits.Steps <= 0 {
		limits.Steps = standard.Steps
	}
	if limits.Bytes <= 0 {
		limits.Bytes = standard.Bytes
	}
	r := &run{ctx: ctx, limits: limits, filters: filters}
	given := &scope{vars: vars, outer: &scope{vars: globals}}
	var out strings.Builder
	if err := r.exec(t.body, given.inner(), &out); err != nil {
		return "", err
	}
	return out.String(), nil
}

// stmt is a statement; the scope is the one that {% set %} writes to.
type stmt interface {
	exec(r *run, s *scope, out *strings.Builder) error
}

func (r *run) exec(list []stmt, s *scope, out *strings.Builder) error {
	defer r.leave()
	if err := r.enter(); err != nil {
		return err
	}
	for _, st := range list {
		if err := st.exec(r, s, out); err != nil {
			return err
		}
	}
	return nil
}

// write adds to the output.
func (r *run) write(out *strings.Builder, s string) error {
	if err := r.take(len(s)); err != nil {
		return err
	}
	out.WriteString(s)
	return nil
}

type textStmt string

func (t textStmt) exec(r *run, _ *scope, out *strings.Builder) error { return r.write(out, string(t)) }

type output struct {
	line int
	e    expr
}

func (o *output) exec(r *run, s *scope, out *strings.Builder) error {
	v, err := r.eval(o.e, s)
	if err != nil {
		return at(o.line, err)
	}
	text, err := r.str(v)
	if err != nil {
		return at(o.line, err)
	}
	return at(o.line, r.write(out, text))
}

type ifStmt struct {
	line      int
	conds     []expr
	bodies    [][]stmt
	otherwise []stmt
}

func (i *ifStmt) exec(r *run, s *scope, out *strings.Builder) error {
	for k, cond := range i.conds {
		v, err := r.eval(cond, s)
		if err != nil {
			return at(i.line, err)
		}
		if truth(v) {
			return r.exec(i.bodies[k], s, out)
		}
	}
	return r.exec(i.otherwise, s, out)
}

type setStmt struct {
	line    int
	targets []string
	attr    string // of the only target, a namespace
	value   expr
	body    []stmt    // or the text of a block
	text    *captured // and value its filters
}

func (st *setStmt) exec(r *run, s *scope, out *strings.Builder) error {
	v, err := st.eval(r, s)
	if err != nil {
		return at(st.line, err)
	}
	if st.attr != "" {
		ns, _ := s.get(st.targets[0])
		if d, ok := ns.(*Dict); ok && d.space {
			d.set(st.attr, v)
			return at(st.line, r.take(64))
		}
		return &Error{st.line, fmt.Errorf("'%s' is no namespace, so '%s.%s' cannot be set", st.targets[0], st.targets[0], st.attr)}
	}
	return at(st.line, r.bindTargets(s, st.targets, v))
}

func (st *setStmt) eval(r *run, s *scope) (any, error) {
	if st.body == nil {
		if st.value == nil {
			return "", nil // an empty block
		}
		if st.text == nil {
			return r.eval(st.value, s)
		}
	}
	var b strings.Builder
	if err := r.exec(st.body, s.inner(), &b); err != nil {
		return nil, err
	}
	if st.text == nil {
		return b.String(), nil
	}
	in := s.inner()
	in.set(capturedName, b.String())
	return r.eval(st.value, in)
}

// bindTargets assigns a value to one name, or its elements to several.
func (r *run) bindTargets(s *scope, names []string, v any) error {
	if len(names) == 1 {
		s.set(names[0], v)
		return nil
	}
	items, err := r.iterate(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return fmt.Errorf("%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		s.set(name, items[i])
	}
	return nil
}

// group is {% generation %}, by which transformers finds what the assistant
// said. It has a scope of its own, as there.
type group struct{ body []stmt }

func (g *group) exec(r *run, s *scope, out *strings.Builder) error {
	return r.exec(g.body, s.inner(), out)
}

type jump struct{ err error }

func (j *jump) exec(*run, *scope, *strings.Builder) error { return j.err }

type macroStmt struct {
	line     int
	name     string
	params   []string
	defaults []expr // nil where a parameter has none
	body     []stmt
}

func (m *macroStmt) exec(r *run, s *scope, _ *strings.Builder) error {
	s.set(m.name, Func(func(a *Args) (any, error) { return m.call(a, s) }))
	return nil
}

func (m *macroStmt) call(a *Args, defined *scope) (any, error) {
	r, in := a.run, defined.inner()
	if len(a.List) > len(m.params) {
		return nil, fmt.Errorf("macro %s takes %d arguments, not %d", m.name, len(m.params), len(a.List))
	}
	used := 0
	for i, param := range m.params {
		v, named := a.Named[param]
		switch {
		case i < len(a.List) && named:
			return nil, fmt.Errorf("macro %s: the argument '%s' is given twice", m.name, param)
		case i < len(a.List):
			v = a.List[i]
		case named:
			used++
		case m.defaults[i] != nil:
			var err error
			if v, err = r.eval(m.defaults[i], in); err != nil {
				return nil, err
			}
		default:
			v = undefined{fmt.Sprintf("parameter '%s' of macro %s", param, m.name)}
		}
		in.set(param, v)
	}
	if used < len(a.Named) {
		return nil, fmt.Errorf("macro %s: an argument with an unknown name", m.name)
	}
	var b strings.Builder
	if err := r.exec(m.body, in, &b); err != nil {
		return nil, err
	}
	return b.String(), nil
}
